package redisbus

import (
	"log/slog"
	"sync"
)

// notes says once what the Redis of a bus does not allow.
type notes struct {
	role, probe sync.Once
}

func (n *notes) noRole(log *slog.Logger) {
	n.role.Do(func() {
		log.Info("redis does not answer ROLE: a server that has become a replica is noticed when the probe does not come back")
	})
}

func (n *notes) noProbe(log *slog.Logger, err error) {
	n.probe.Do(func() {
		log.Warn("redis refuses the probe: allow SUBSCRIBE and PUBLISH on the channel to have it proved that messages arrive",
			"channel", probeName+"*", "error", textOf(err))
	})
}

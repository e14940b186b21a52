package live

import (
	"errors"
	"fmt"

	"github.com/alicebob/miniredis/v2"

	"github.com/tandem-ws/tandem/compare/process"
)

// redis is what both servers are subscribed to: a redis-server, or an embedded
// one where there is none.
type redis struct {
	server   *process.Redis       // nil when embedded
	embedded *miniredis.Miniredis // nil when not
}

func startRedis(cpus []int) (*redis, error) {
	server, err := process.StartRedis(cpus...)
	if err == nil {
		return &redis{server: server}, nil
	}
	if !errors.Is(err, process.ErrNoRedis) {
		return nil, err
	}
	embedded := miniredis.NewMiniRedis()
	if err := embedded.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("live: start embedded Redis: %w", err)
	}
	return &redis{embedded: embedded}, nil
}

// url is what REDIS_URL takes.
func (r *redis) url() string {
	if r.server != nil {
		return r.server.URL()
	}
	return "redis://" + r.embedded.Addr()
}

// describe names it for people.
func (r *redis) describe() string {
	if r.server != nil {
		return "redis-server"
	}
	return "embedded Redis (no redis-server found)"
}

// pid is the process id in brackets, where there is a process.
func (r *redis) pid() string {
	if r.server == nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", r.server.PID())
}

func (r *redis) stop() error {
	if r.server != nil {
		return r.server.Stop(stopGrace)
	}
	r.embedded.Close()
	return nil
}

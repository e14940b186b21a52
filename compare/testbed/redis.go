package testbed

import (
	"fmt"

	"github.com/tandem-ws/tandem/compare/redisserver"
)

// redis is the Redis of one run.
type redis struct {
	*redisserver.Server
	unwatch func()
}

func startRedis(o Options) (*redis, error) {
	options := redisserver.Options{CPUs: o.CPUs.Redis}
	if o.Embedded {
		options.Embedded, options.Stderr = o.Self, o.Stderr
	}
	server, err := redisserver.Start(options)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRun, err)
	}
	return &redis{Server: server}, nil
}

// KillRedis kills this run's Redis, as a crash would.
func (r *Testbed) KillRedis() error {
	if r.redis == nil {
		return fmt.Errorf("%w: the Redis of an external server must not be killed", ErrRun)
	}
	r.redis.unwatch()
	return r.redis.Kill()
}

// RestartRedis starts Redis on the port that KillRedis has freed, and waits until
// it answers.
func (r *Testbed) RestartRedis() error {
	if err := r.redis.Restart(); err != nil {
		return fmt.Errorf("%w: %w", ErrRun, err)
	}
	r.redis.unwatch = r.watch(r.redis.Process)
	return nil
}

package live

import (
	"errors"
	"fmt"
	"os"

	"github.com/tandem-ws/tandem/compare/redisserver"
)

// redis is what both servers are subscribed to: a redis-server, or an embedded one
// if there is none.
type redis struct {
	*redisserver.Server
	embedded bool
}

func startRedis(cpus []int) (*redis, error) {
	server, err := redisserver.Start(redisserver.Options{CPUs: cpus})
	if err == nil {
		return &redis{Server: server}, nil
	}
	if !errors.Is(err, redisserver.ErrNone) {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("live: find own program: %w", err)
	}
	server, err = redisserver.Start(redisserver.Options{CPUs: cpus, Embedded: self})
	return &redis{Server: server, embedded: true}, err
}

// describe returns the name to show.
func (r *redis) describe() string {
	if r.embedded {
		return "embedded Redis (no redis-server found)"
	}
	return "redis-server"
}

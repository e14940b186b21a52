package kit

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/redisbus"
	"github.com/tandem-ws/tandem/redisbus/redistest"
)

// RedisNode is a node on a real Redis.
type RedisNode struct {
	*Node
	Server *redistest.Server
	Bus    *redisbus.Bus
}

// StartRedis runs an engine on a redis-server of its own.
func StartRedis(t *testing.T, build Build, links int, change func(*Setup)) *RedisNode {
	t.Helper()
	return StartRedisBus(t, build, redisbus.Options{
		Connections: links, Linger: 20 * time.Millisecond,
		HeartbeatInterval: 200 * time.Millisecond, HeartbeatTimeout: ShortTimeout, ReconnectMax: 200 * time.Millisecond,
	}, change)
}

// StartRedisBus is StartRedis with a bus of these options.
func StartRedisBus(t *testing.T, build Build, options redisbus.Options, change func(*Setup)) *RedisNode {
	t.Helper()
	server := redistest.Start(t)
	options.URL, options.Log = server.URL(), slog.New(slog.NewTextHandler(logWriter{t}, nil))
	bus, err := redisbus.New(options)
	if err != nil {
		t.Fatal(err)
	}
	// The engine stops first: cleanups run in reverse.
	t.Cleanup(bus.Close)
	n := Start(t, build, func(s *Setup) {
		s.bus = bus
		if change != nil {
			change(s)
		}
	})
	if err := bus.Start(n.Engine); err != nil {
		t.Fatal(err)
	}
	r := &RedisNode{Node: n, Server: server, Bus: bus}
	r.AwaitReady(t)
	return r
}

// AwaitReady waits until the link to Redis is up.
func (n *RedisNode) AwaitReady(t Tester) {
	t.Helper()
	Await(t, "the link to Redis", func() (bool, string) {
		err := n.Bus.Ready()
		return err == nil, fmt.Sprint(err)
	})
}

package redisbus

import (
	"fmt"
	"net"

	"github.com/alicebob/miniredis/v2"
)

// DefaultEmbeddedAddr is where StartEmbedded listens when it has the choice: the
// port that redis-cli uses by itself.
const DefaultEmbeddedAddr = "127.0.0.1:6379"

// Embedded is a Redis inside this process, for trying things out. It keeps
// everything in memory, answers on loopback only as far as its address says so,
// and is neither fast nor complete.
type Embedded struct {
	server *miniredis.Miniredis
}

// StartEmbedded listens on addr (host:port). An empty addr stands for
// DefaultEmbeddedAddr, or any free port of loopback where that one is taken.
func StartEmbedded(addr string) (*Embedded, error) {
	server := miniredis.NewMiniRedis()
	var err error
	if addr == "" {
		if server.StartAddr(DefaultEmbeddedAddr) == nil {
			return &Embedded{server: server}, nil
		}
		addr = "127.0.0.1:0"
	}
	if err = server.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("redisbus: embedded Redis: %w", err)
	}
	return &Embedded{server: server}, nil
}

// Addr is host:port of the listener.
func (e *Embedded) Addr() string { return e.server.Addr() }

// Port is the port of Addr, for redis-cli -p.
func (e *Embedded) Port() string {
	_, port, _ := net.SplitHostPort(e.Addr())
	return port
}

// URL is what Options.URL wants.
func (e *Embedded) URL() string { return "redis://" + e.Addr() }

// Close ends the server and returns when its connections have ended.
func (e *Embedded) Close() { e.server.Close() }

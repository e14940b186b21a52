package redisbus

import (
	"fmt"
	"net"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
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
	e := &Embedded{server: miniredis.NewMiniRedis()}
	if addr != "" || e.server.StartAddr(DefaultEmbeddedAddr) != nil {
		if addr == "" {
			addr = "127.0.0.1:0"
		}
		if err := e.server.StartAddr(addr); err != nil {
			return nil, fmt.Errorf("redisbus: embedded Redis: %w", err)
		}
	}
	if err := e.server.Server().Register("ROLE", role); err != nil {
		e.Close()
		return nil, fmt.Errorf("redisbus: embedded Redis: %w", err)
	}
	return e, nil
}

// role answers ROLE, which miniredis lacks, as a master without replicas does.
func role(c *server.Peer, _ string, _ []string) {
	c.WriteLen(3)
	c.WriteBulk("master")
	c.WriteInt(0)
	c.WriteLen(0)
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

package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/tandem-ws/tandem/reliability/frame"
)

// Ending is how a client ends its connection.
type Ending int

// The ways to end a connection.
const (
	Close Ending = iota // a close frame, then wait for the server
	Drop                // close the socket
	Reset               // TCP reset
)

const (
	closeLimit = 5 * time.Second // for the server's answer to a close frame
	// pingGrace is how late a ping may be, as in the SDKs.
	pingGrace = 10 * time.Second
)

// client is a member of a Pool.
type client struct {
	pool   *Pool
	number uint32 // its own, even if it takes the place of another
	place  uint32 // decides its kind and channels
	kind   Kind
	ctx    context.Context
	cancel context.CancelFunc

	mu            sync.Mutex // guards what follows; not held across I/O
	conn          net.Conn
	local         bool // the client has ended this connection itself
	subscriptions []subscription
}

func newClient(c *Pool, number, place uint32) *client {
	m := &client{pool: c, number: number, place: place, kind: c.options.kind(place), subscriptions: make([]subscription, c.options.Each)}
	m.ctx, m.cancel = context.WithCancel(c.ctx)
	for i := range m.subscriptions {
		channel := (place*uint32(c.options.Each) + uint32(i)) % uint32(c.options.Channels)
		m.subscriptions[i] = subscription{channel: channel, name: fmt.Sprintf(c.options.Channel, channel)}
	}
	return m
}

// run keeps the client connected until ctx ends.
func (m *client) run(ctx context.Context) {
	defer m.cancel()
	away := time.Now()
	for attempts := 0; ; attempts++ {
		began := time.Now()
		conn, err := m.dial(ctx, attempts)
		if err == nil {
			m.pool.counts.handshake.record(time.Since(began))
			m.pool.counts.connected.Add(1)
			var s connection
			s, err = m.serve(conn, away)
			if s.connected {
				attempts = 0
			}
			away = time.Now()
			m.pool.counts.endOf(s, err)
			if s.final {
				return
			}
		} else if ctx.Err() == nil {
			m.pool.counts.fail(reason(err))
		}
		if sleep(ctx, m.pool.options.delay(attempts)) != nil {
			return
		}
	}
}

// kind returns the kind of the client in this place. The clients of a channel are of
// all kinds.
func (o *Options) kind(place uint32) Kind {
	rounds := int(place) * o.Each / o.Channels
	return o.Kinds[rounds%len(o.Kinds)]
}

// delay returns the delay before the next attempt, as the SDKs compute it.
func (o *Options) delay(attempts int) time.Duration {
	span := min(o.MaxDelay, o.MinDelay<<min(attempts, 16))
	return min(o.MaxDelay, o.MinDelay+rand.N(span+1))
}

// reason shortens err to a name that can be counted.
func reason(err error) string {
	var status frame.Refused
	var timeout net.Error
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "eof"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return err.Error()
}

// leave ends the client for good.
func (m *client) leave(how Ending) {
	m.cancel()
	m.end(how)
}

// end ends the connection.
func (m *client) end(how Ending) {
	m.mu.Lock()
	conn := m.conn
	m.local = true
	m.mu.Unlock()
	if conn == nil {
		return
	}
	if how == Close && m.kind.Protocol.overHTTP() {
		how = Drop // HTTP has no other way
	}
	// errors mean that the connection has ended already
	switch how {
	case Close:
		_, _ = conn.Write(frame.Append(nil, frame.Close, []byte{3, 232})) // 1000
		_ = conn.SetReadDeadline(time.Now().Add(closeLimit))
	case Reset:
		if secure, ok := conn.(*tls.Conn); ok {
			conn = secure.NetConn() // a reset must not be preceded by an alert
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	case Drop:
		_ = conn.Close()
	}
}

// attach makes conn the client's connection. It returns false if the client must end.
func (m *client) attach(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conn, m.local = conn, false
	return m.ctx.Err() == nil
}

// detach records that the connection, and with it all subscriptions, has ended. It
// reports whether the client ended it.
func (m *client) detach() (local bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.subscriptions {
		m.announce(&m.subscriptions[i])
		m.subscriptions[i].state = out
	}
	local, m.conn = m.local, nil
	return local
}

// deadline reports whether err is that of a read deadline.
func deadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

package witness

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

	"github.com/tandem-ws/tandem/compare/frame"
)

// Ending is how a witness ends its connection.
type Ending int

// The ways to end a connection.
const (
	Close Ending = iota // a close frame, then wait for the server
	Drop                // close the socket
	Reset               // TCP reset
)

const (
	closeLimit = 5 * time.Second // for the server's answer to a close frame
	// pingGrace is how much later than announced a ping may come, as in the SDKs.
	pingGrace = 10 * time.Second
)

// client is one witness.
type client struct {
	crew   *Crew
	number uint32 // of its own, also when it takes another's place
	place  uint32 // decides its kind and channels
	kind   Kind
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex // guards what follows; not held across I/O
	conn  net.Conn
	local bool // the crew has ended this connection
	views []view
}

func newClient(c *Crew, number, place uint32) *client {
	m := &client{crew: c, number: number, place: place, kind: c.options.kind(place), views: make([]view, c.options.Each)}
	m.ctx, m.cancel = context.WithCancel(c.ctx)
	for i := range m.views {
		channel := (place*uint32(c.options.Each) + uint32(i)) % uint32(c.options.Channels)
		m.views[i] = view{channel: channel, name: fmt.Sprintf(c.options.Channel, channel)}
	}
	return m
}

// run keeps the witness connected until ctx ends.
func (m *client) run(ctx context.Context) {
	defer m.cancel()
	away := time.Now()
	for attempts := 0; ; attempts++ {
		began := time.Now()
		conn, err := m.dial(ctx, attempts)
		if err == nil {
			m.crew.account.handshake.record(time.Since(began))
			m.crew.account.connected.Add(1)
			var s session
			s, err = m.serve(conn, away)
			if s.connected {
				attempts = 0
			}
			away = time.Now()
			m.crew.account.endOf(s, err)
			if s.final {
				return
			}
		} else if ctx.Err() == nil {
			m.crew.account.fail(reason(err))
		}
		if sleep(ctx, m.crew.options.delay(attempts)) != nil {
			return
		}
	}
}

// kind is that of the witness in this place. Those that share a channel are of all
// kinds.
func (o *Options) kind(place uint32) Kind {
	rounds := int(place) * o.Each / o.Channels
	return o.Kinds[rounds%len(o.Kinds)]
}

// delay is the pause before the next attempt, as the SDKs have it.
func (o *Options) delay(attempts int) time.Duration {
	span := min(o.MaxDelay, o.MinDelay<<min(attempts, 16))
	return min(o.MaxDelay, o.MinDelay+rand.N(span+1))
}

// reason is err in few words, so that it can be counted.
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

// leave ends the witness for good.
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
		how = Drop // there is no other way to close
	}
	// an error means that the connection has ended already
	switch how {
	case Close:
		_, _ = conn.Write(frame.Append(nil, frame.Close, []byte{3, 232})) // 1000
		_ = conn.SetReadDeadline(time.Now().Add(closeLimit))
	case Reset:
		if secure, ok := conn.(*tls.Conn); ok {
			conn = secure.NetConn() // a reset says nothing first
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	case Drop:
		_ = conn.Close()
	}
}

// attach makes conn the witness's connection; false: it is to end at once.
func (m *client) attach(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conn, m.local = conn, false
	return m.ctx.Err() == nil
}

// detach notes that the connection has ended, and with it all subscriptions. It
// returns whether the crew ended it.
func (m *client) detach() (local bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.views {
		m.told(&m.views[i])
		m.views[i].state = out
	}
	local, m.conn = m.local, nil
	return local
}

// deadline tells whether err is that of a read deadline.
func deadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

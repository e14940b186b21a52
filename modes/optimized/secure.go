//go:build linux

package optimized

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/optimized/sys"
)

const (
	// sealAhead is how much is encrypted before the socket has shown that it takes
	// it: what it does not take is held for a slow client, and is no longer shared.
	sealAhead = 64 << 10
	// plaintextBuffer holds the largest record (RFC 8446 section 5.1).
	plaintextBuffer = 16 << 10
)

// security is what a loop has where TLS is spoken. Its connections' own lie beside
// the records, as everything does that not all connections have.
type security struct {
	of        []*secure // by record index
	plaintext []byte    // what is being read
	sealed    []byte    // what crypto/tls has written and is not sent

	shaking []handle // connections in their TLS handshake, the first to begin first, and some that no longer are
	shakes  int      // how many they are
}

// secure is one connection's TLS: crypto/tls over bytes in memory. The loop puts in
// what it has read and sends what comes out; crypto/tls neither knows nor waits for
// the socket.
type secure struct {
	conn *tls.Conn
	pipe pipe
	held bool // there is more in pipe or conn, for when the client is read again
}

// pipe is the net.Conn under a secure. After the handshake it belongs to the loop,
// or to net/http once that has the connection.
type pipe struct {
	loop  *loop
	shake *shake       // nil: the handshake is over
	in    []byte       // has come and is not taken
	tcp   *net.TCPConn // where net/http has the connection
}

var _ net.Conn = (*pipe)(nil)

// errDry says that the bytes are used up. crypto/tls takes up a read where a
// temporary error has ended it, in the middle of a record, too; any other error it
// keeps for good.
var errDry net.Error = dry{}

type dry struct{}

func (dry) Error() string   { return "optimized: no more bytes for now" }
func (dry) Timeout() bool   { return false }
func (dry) Temporary() bool { return true }

// Read implements net.Conn.
func (p *pipe) Read(b []byte) (int, error) {
	if p.shake != nil {
		return p.shake.read(b)
	}
	if len(p.in) > 0 {
		n := copy(b, p.in)
		p.in = p.in[n:]
		return n, nil
	}
	if p.tcp != nil {
		return p.tcp.Read(b)
	}
	return 0, errDry
}

// Write implements net.Conn.
func (p *pipe) Write(b []byte) (int, error) {
	switch {
	case p.shake != nil:
		p.shake.write(b)
	case p.tcp != nil:
		return p.tcp.Write(b)
	default:
		p.loop.security.sealed = append(p.loop.security.sealed, b...)
	}
	return len(b), nil
}

// Close implements net.Conn. The loop closes its sockets itself.
func (p *pipe) Close() error {
	if p.tcp != nil {
		return p.tcp.Close()
	}
	return nil
}

// LocalAddr implements net.Conn.
func (p *pipe) LocalAddr() net.Addr {
	if p.tcp != nil {
		return p.tcp.LocalAddr()
	}
	return p.loop.engine.address
}

// RemoteAddr implements net.Conn. Nobody asks for it while the loop has the
// connection.
func (p *pipe) RemoteAddr() net.Addr {
	if p.tcp != nil {
		return p.tcp.RemoteAddr()
	}
	return &net.TCPAddr{}
}

// SetDeadline implements net.Conn.
func (p *pipe) SetDeadline(t time.Time) error {
	if p.tcp != nil {
		return p.tcp.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline implements net.Conn.
func (p *pipe) SetReadDeadline(t time.Time) error {
	if p.tcp != nil {
		return p.tcp.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline implements net.Conn.
func (p *pipe) SetWriteDeadline(t time.Time) error {
	if p.tcp != nil {
		return p.tcp.SetWriteDeadline(t)
	}
	return nil
}

// secureOf returns the connection's TLS, nil if it has none (yet).
func (l *loop) secureOf(index uint32) *secure {
	if l.security == nil || int(index) >= len(l.security.of) {
		return nil
	}
	return l.security.of[index]
}

// setSecure makes s, which may be nil, the connection's TLS.
func (l *loop) setSecure(index uint32, s *secure) {
	for int(index) >= len(l.security.of) {
		l.security.of = append(l.security.of, nil)
	}
	l.security.of[index] = s
}

// unseal acts on what a connection has sent over TLS, and so much of it as makes
// records. The bytes belong to the loop.
func (l *loop) unseal(index uint32, r *record, received []byte) {
	s := l.secureOf(index)
	s.pipe.in = received
	unheard := false
	for !r.failed {
		n, err := s.conn.Read(l.security.plaintext)
		// A key update is answered, and a violation told.
		l.transmit(index, r)
		if n > 0 && !r.failed {
			l.engine.Stats.BytesIn.Add(uint64(n))
			if r.discarding {
				unheard = true
			} else {
				l.input(index, r, l.security.plaintext[:n])
				l.flush(index, r)
			}
			if l.secureOf(index) != s {
				// net/http has it, with what is left.
				return
			}
			if err == nil && l.holds(r) {
				s.pipe.in, s.held = bytes.Clone(s.pipe.in), true
				return
			}
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, errDry):
		case errors.Is(err, io.EOF):
			l.inputEnded(index, r)
		default:
			l.markFailed(index, r, resetReason(r))
		}
		break
	}
	s.pipe.in = nil
	if unheard && !r.failed {
		// One read, however many records.
		l.input(index, r, nil)
	}
}

// seal encrypts b for the connection, to be sent by transmit. False: it cannot be.
func (l *loop) seal(index uint32, r *record, b []byte) bool {
	if _, err := l.security.of[index].conn.Write(b); err != nil {
		l.markFailed(index, r, writeReason(err))
		return false
	}
	return true
}

// transmit sends what has been encrypted for the connection, and keeps what the
// socket does not take. True: it has taken everything.
func (l *loop) transmit(index uint32, r *record) bool {
	b := l.security.sealed
	l.security.sealed = b[:0]
	if len(b) == 0 || r.failed {
		return !r.failed
	}
	n := 0
	if r.out == none || len(l.outboxes.items[r.out].sealed) == 0 {
		var errno unix.Errno
		n, errno = sys.Send(r.fd, b)
		switch {
		case n == len(b):
			if r.out != none {
				l.outboxes.items[r.out].gone(n)
			}
			return true
		case errno != 0 && errno != unix.EAGAIN:
			l.markFailed(index, r, writeReason(errno))
			return false
		}
	}
	if r.out == none {
		r.out = l.outboxes.add(new(outbox))
	}
	o := l.outboxes.items[r.out]
	o.sealed = append(o.sealed, b[n:]...)
	o.gone(n)
	l.engine.Stats.Queued.Add(int64(len(b) - n))
	return false
}

// writeSecure is write over TLS: each connection's bytes are its own, encrypted at
// the moment that the socket seems to take them. What waits behind them waits as it
// is, shared with others.
func (l *loop) writeSecure(index uint32, r *record, buffer []byte, shared bool) {
	if r.out != none {
		l.enqueue(index, r, buffer, shared)
		return
	}
	for sent := 0; sent < len(buffer); {
		part := buffer[sent:min(sent+sealAhead, len(buffer))]
		if !l.seal(index, r, part) {
			return
		}
		sent += len(part)
		if !l.transmit(index, r) {
			if !r.failed && sent < len(buffer) {
				l.enqueueFirst(index, r, buffer, sent, shared)
			}
			return
		}
	}
}

// flushSecure is flushPlain over TLS.
func (l *loop) flushSecure(index uint32, r *record, o *outbox) bool {
	for len(o.sealed) > 0 || len(o.buffers) > 0 {
		if len(o.sealed) > 0 {
			n, errno := sys.Send(r.fd, o.sealed)
			switch errno {
			case 0:
				l.engine.Stats.Queued.Add(-int64(n))
				o.sealed = o.sealed[n:]
				o.gone(n)
				continue
			case unix.EAGAIN:
			default:
				l.markFailed(index, r, writeReason(errno))
			}
			return false
		}
		o.sealed = nil
		for room := sealAhead; room > 0 && len(o.buffers) > 0; {
			part := o.buffers[0][o.sent:]
			part = part[:min(len(part), room)]
			if len(part) > 0 && !l.seal(index, r, part) {
				return false
			}
			room -= len(part)
			l.taken(o, len(part))
		}
		l.transmit(index, r)
		if r.failed {
			return false
		}
	}
	return true
}

// bye tells the client of a connection that nothing more will come (close_notify),
// if that can be said now.
func (l *loop) bye(index uint32, r *record) {
	s := l.secureOf(index)
	if s == nil || s.pipe.shake != nil || r.out != none {
		return
	}
	// It may be broken, or have said it before.
	_ = s.conn.CloseWrite()
	if b := l.security.sealed; len(b) > 0 {
		l.security.sealed = b[:0]
		_, _ = sys.Send(r.fd, b)
	}
}

// leaveSecure ends a connection's TLS.
func (l *loop) leaveSecure(index uint32, r *record) {
	s := l.secureOf(index)
	if s == nil {
		return
	}
	l.bye(index, r)
	if s.pipe.shake != nil {
		s.pipe.shake.end()
		l.security.shakes--
	}
	l.setSecure(index, nil)
}

// plainly answers a client that has not come as far as TLS.
func (l *loop) plainly(index uint32, r *record, response string) {
	l.engine.Stats.Refused.WithLabelValues(handshake.ReasonTLS).Inc()
	if n, errno := sys.Send(r.fd, []byte(response)); errno != 0 || n < len(response) {
		r.state = closing // it has been counted
		l.markFailed(index, r, modes.ReasonGone)
		return
	}
	l.turnAway(index, r)
}

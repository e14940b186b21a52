package idiomatic

import (
	"bytes"
	"errors"
	"net"
	"os"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/liveness"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// socketConn is a socket as gorilla sees it, and net/http where there is TLS. The
// socket is not embedded: net.Buffers would find the TCP connection's own way to
// write, past TLS and past what watches writes.
type socketConn struct{ socket *socket }

var _ handshake.Conn = socketConn{}

// Admitted implements handshake.Conn.
func (s socketConn) Admitted() *admission.Plain { return s.socket.admitted }

func (s socketConn) Read(p []byte) (int, error)        { return s.socket.Read(p) }
func (s socketConn) Write(p []byte) (int, error)       { return s.socket.Write(p) }
func (s socketConn) Close() error                      { return s.socket.Close() }
func (s socketConn) CloseWrite() error                 { return s.socket.CloseWrite() }
func (s socketConn) LocalAddr() net.Addr               { return s.socket.LocalAddr() }
func (s socketConn) RemoteAddr() net.Addr              { return s.socket.RemoteAddr() }
func (s socketConn) SetDeadline(t time.Time) error     { return s.socket.SetDeadline(t) }
func (s socketConn) SetReadDeadline(t time.Time) error { return s.socket.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn. Once the connection is open, each write has
// its own deadline, see socket.send.
func (s socketConn) SetWriteDeadline(t time.Time) error {
	if s.socket.patience.Load() > 0 {
		return nil
	}
	return s.socket.SetWriteDeadline(t)
}

// Write implements net.Conn. It must be in place of the TCP connection's own, for
// whoever has the socket and not its socketConn.
func (s *socket) Write(p []byte) (int, error) {
	if s.extension != "" {
		// gorilla writes its response whole.
		response := bytes.Replace(p, []byte(wire.DeflateResponse), []byte(s.extension), 1)
		s.extension = ""
		if _, err := s.transmit(response); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return s.transmit(p)
}

func (s *socket) transmit(p []byte) (int, error) {
	if s.secure != nil {
		return s.secure.Write(p)
	}
	return s.send(p)
}

// send writes to the TCP connection. On one that is open it fails with
// os.ErrDeadlineExceeded when the client has taken nothing for as long as it may,
// however long it takes everything.
func (s *socket) send(p []byte) (n int, err error) {
	patience := time.Duration(s.patience.Load())
	if patience == 0 {
		return s.TCPConn.Write(p)
	}
	var watch liveness.Watch
	for {
		if err := s.TCPConn.SetWriteDeadline(time.Now().Add(liveness.CheckInterval(patience))); err != nil {
			return n, err
		}
		m, err := s.TCPConn.Write(p[n:])
		n += m
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if watch.Stalled(modes.Now(), s.flow(), patience) {
			return n, err
		}
	}
}

// transport is the TCP connection as TLS sees it.
type transport struct {
	*net.TCPConn
	socket *socket
}

func (t transport) Write(p []byte) (int, error) { return t.socket.send(p) }

// flow is how far what was written has got.
func (s *socket) flow() (f liveness.Flow) {
	s.control(func(fd int) { f = liveness.ReadFlow(fd) })
	return f
}

// writable reports whether the kernel would take something now.
func (s *socket) writable() (yes bool) {
	if s != nil {
		s.control(func(fd int) { yes = liveness.Writable(fd) })
	}
	return yes
}

// control calls f with the descriptor, unless it is closed.
func (s *socket) control(f func(fd int)) {
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	// A closed socket has nothing to tell.
	_ = raw.Control(func(fd uintptr) { f(int(fd)) })
}

package idiomatic

import (
	"bytes"
	"io"
	"net"
	"time"

	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// secureSocket is a socket with TLS over it, as net/http and gorilla see it. The
// socket is not embedded: net.Buffers would find the TCP connection's own way to
// write, past TLS.
type secureSocket struct{ socket *socket }

var _ net.Conn = secureSocket{}

func (s secureSocket) Read(p []byte) (int, error)         { return s.socket.Read(p) }
func (s secureSocket) Write(p []byte) (int, error)        { return s.socket.Write(p) }
func (s secureSocket) Close() error                       { return s.socket.Close() }
func (s secureSocket) CloseWrite() error                  { return s.socket.CloseWrite() }
func (s secureSocket) LocalAddr() net.Addr                { return s.socket.LocalAddr() }
func (s secureSocket) RemoteAddr() net.Addr               { return s.socket.RemoteAddr() }
func (s secureSocket) SetDeadline(t time.Time) error      { return s.socket.SetDeadline(t) }
func (s secureSocket) SetReadDeadline(t time.Time) error  { return s.socket.SetReadDeadline(t) }
func (s secureSocket) SetWriteDeadline(t time.Time) error { return s.socket.SetWriteDeadline(t) }

// socketUnder returns the socket of a connection that the listener has accepted.
func socketUnder(conn net.Conn) *socket {
	if s, ok := conn.(secureSocket); ok {
		return s.socket
	}
	return conn.(*socket)
}

// receive reads what the client has sent, decrypted. The first call makes the TLS
// handshake.
func (s *socket) receive(p []byte) (int, error) {
	if s.secure != nil {
		return s.secure.Read(p)
	}
	return s.TCPConn.Read(p)
}

// Write implements net.Conn. What is in place of the TCP connection's own must be, for
// whoever has the socket and not its secureSocket.
func (s *socket) Write(p []byte) (int, error) {
	if s.extension != "" {
		// gorilla writes its response whole.
		response := bytes.Replace(p, []byte(wire.DeflateResponse), []byte(s.extension), 1)
		s.extension = ""
		if _, err := s.sender().Write(response); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return s.sender().Write(p)
}

// sender is where to write what the client is to read.
func (s *socket) sender() io.Writer {
	if s.secure != nil {
		return s.secure
	}
	return s.TCPConn
}

// Close implements net.Conn. Over TLS the client is told first (close_notify).
func (s *socket) Close() error {
	if s.secure != nil {
		return s.secure.Close()
	}
	return s.TCPConn.Close()
}

// CloseWrite ends our side of the stream, over TLS with close_notify.
func (s *socket) CloseWrite() error {
	if s.secure != nil {
		// The end itself tells those whom this does not reach.
		_ = s.secure.CloseWrite()
	}
	return s.TCPConn.CloseWrite()
}

// handshakeFailed acts on a TLS handshake that ended with err. crypto/tls has sent
// its alert.
func (s *socket) handshakeFailed(err error) {
	if reason := handshake.TLSFailure(err); reason != "" {
		s.stats.Refused.WithLabelValues(reason).Inc()
	}
	if handshake.SpeaksHTTP(err) {
		// The client may be gone, which is all right.
		_, _ = io.WriteString(s.TCPConn, handshake.PlainHTTP)
		_ = s.TCPConn.CloseWrite()
	}
}

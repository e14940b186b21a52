package idiomatic

import (
	"io"
	"net"

	"github.com/tandem-ws/tandem/modes/handshake"
)

// socketUnder returns the socket of a connection that the listener has accepted.
func socketUnder(conn net.Conn) *socket {
	if s, ok := conn.(socketConn); ok {
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

// Close implements net.Conn. Over TLS the client is told first (close_notify).
func (s *socket) Close() error {
	defer s.admitted.Close()
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

package idiomatic

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
)

// listener accepts sockets.
type listener struct {
	*net.TCPListener
	config *modes.Config
}

func listen(config modes.Config) (*listener, error) {
	lc := net.ListenConfig{}
	if config.Limits.PingInterval > 0 {
		// Our pings find dead peers sooner than TCP's, and for less: keep-alive
		// is three system calls for every connection.
		lc.KeepAlive = -1
	}
	l, err := lc.Listen(context.Background(), "tcp", config.Addr)
	if err != nil {
		return nil, err
	}
	return &listener{TCPListener: l.(*net.TCPListener), config: &config}, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	conn, counted, refusal, err := handshake.Accept(l.TCPListener, l.config)
	if err != nil {
		return nil, err
	}
	return l.socket(conn.(*net.TCPConn), counted, refusal), nil
}

// socket returns what net/http is given of a connection that has been accepted.
func (l *listener) socket(conn *net.TCPConn, counted admission.Socket, refusal *admission.Refusal) net.Conn {
	s := &socket{
		TCPConn: conn, stats: l.config.Stats, timeout: l.config.Limits.HandshakeTimeout,
		frames: frames{limit: int64(l.config.Limits.MaxMessageSize)},
	}
	s.admitted = l.config.Admission.Plain(counted, refusal, s.reset)
	if l.config.TLS == nil {
		return s
	}
	s.secure = tls.Server(transport{conn, s}, l.config.TLS)
	return socketConn{s}
}

// socketOf returns the socket that a request came from.
func socketOf(r *http.Request) *socket { return socketUnder(handshake.ConnOf(r)) }

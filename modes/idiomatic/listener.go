package idiomatic

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"github.com/tandem-ws/tandem/modes"
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

// Accept implements net.Listener. net/http pauses and tries again where an
// error is temporary, as running out of descriptors is.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		var temporary net.Error
		//nolint:staticcheck // net/http, which pauses, asks the same.
		if errors.As(err, &temporary) && temporary.Temporary() {
			l.config.Stats.Overloads.Inc()
		}
		return nil, err
	}
	s := &socket{
		TCPConn: conn, stats: l.config.Stats, timeout: l.config.Limits.HandshakeTimeout,
		frames: frames{limit: int64(l.config.Limits.MaxMessageSize)},
	}
	if l.config.TLS == nil {
		return s, nil
	}
	s.secure = tls.Server(transport{conn, s}, l.config.TLS)
	return socketConn{s}, nil
}

// socketKey is under which a request's context knows its socket.
type socketKey struct{}

func withSocket(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, socketKey{}, socketUnder(conn))
}

// socketOf returns the socket that a request came from.
func socketOf(r *http.Request) *socket {
	return r.Context().Value(socketKey{}).(*socket)
}

package redisbus

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// socket stands between go-redis and the network for one client: it keeps the
// latest connection, so that closing the bus interrupts whatever go-redis waits
// for, and it dials only with a permit, so that go-redis does not reconnect
// behind the link's back and resubscribe everything in one command.
type socket struct {
	dial dialFunc

	mu      sync.Mutex // guards the rest
	permits int        // negative: no limit
	conn    net.Conn
	closed  bool
}

// newClient makes a client whose connections go through the returned socket.
func newClient(opts *redis.Options, dial dialFunc, permits int) (*redis.Client, *socket) {
	s := &socket{dial: dial, permits: permits}
	own := *opts
	own.Dialer = s.connect
	return redis.NewClient(&own), s
}

// directDialer dials as go-redis does, for connections with a single reader.
func directDialer(opts *redis.Options) dialFunc {
	plain := *opts
	plain.TLSConfig = nil
	dial := redis.NewDialer(&plain)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		direct, err := readDirectly(conn)
		if err == nil && opts.TLSConfig != nil {
			secured := tls.Client(direct, opts.TLSConfig)
			direct, err = secured, secured.HandshakeContext(ctx)
		}
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		return direct, nil
	}
}

// permit allows one more dial.
func (s *socket) permit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.permits = 1
}

func (s *socket) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := s.take(); err != nil {
		return nil, err
	}
	conn, err := s.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return nil, ErrClosed
	}
	s.conn = conn
	return conn, nil
}

func (s *socket) take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.permits == 0:
		return errRedial
	case s.permits > 0:
		s.permits--
	}
	return nil
}

// close interrupts the connection, and refuses all further ones.
func (s *socket) close() {
	s.mu.Lock()
	s.closed = true
	conn := s.conn
	s.mu.Unlock()
	if secured, ok := conn.(*tls.Conn); ok {
		// Closing that one would wait to say goodbye.
		conn = secured.NetConn()
	}
	if conn != nil {
		_ = conn.Close()
	}
}

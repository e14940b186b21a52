package redisbus

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// socket dials for one user, and keeps the latest connection, so that closing the
// bus interrupts whatever waits for it.
type socket struct {
	dial dialFunc

	mu     sync.Mutex // guards the rest
	conn   net.Conn
	closed bool
}

// newClient makes a client whose connections go through the returned socket.
func newClient(opts *redis.Options, dial dialFunc) (*redis.Client, *socket) {
	s := &socket{dial: dial}
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

func (s *socket) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	if s.isClosed() {
		return nil, ErrClosed
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

func (s *socket) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
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

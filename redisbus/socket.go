package redisbus

import (
	"context"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

// socket stands between go-redis and the network for one client: it keeps the
// latest connection, so that closing the bus interrupts whatever go-redis waits
// for, and it dials only with a permit, so that go-redis does not reconnect
// behind the link's back and resubscribe everything in one command.
type socket struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu      sync.Mutex // guards the rest
	permits int        // negative: no limit
	conn    net.Conn
	closed  bool
}

// newClient makes a client whose connections go through the returned socket.
func newClient(opts *redis.Options, permits int) (*redis.Client, *socket) {
	s := &socket{dial: redis.NewDialer(opts), permits: permits}
	own := *opts
	own.Dialer = s.connect
	return redis.NewClient(&own), s
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
	defer s.mu.Unlock()
	s.closed = true
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

package redisbus

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

// dialer makes the connections of one link, one after the other, and keeps the
// latest, so that closing the bus interrupts whatever waits for it.
type dialer struct {
	opts     *redis.Options
	topology topology
	resolver *net.Resolver
	use      use

	mu     sync.Mutex // guards the rest
	conn   net.Conn
	closed bool
}

// connect returns a connection to the present master that has logged in.
func (d *dialer) connect(ctx context.Context) (*conn, error) {
	addr, err := d.topology.master(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c, err := d.dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

func (d *dialer) dial(ctx context.Context, addr string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.DialTimeout+d.opts.ReadTimeout)
	defer cancel()
	if d.isClosed() {
		return nil, ErrClosed
	}
	nc, err := dial(ctx, d.opts, d.resolver, addr, d.use == forPubSub)
	if err != nil {
		return nil, err
	}
	if !d.keep(nc) {
		_ = nc.Close()
		return nil, ErrClosed
	}
	return logIn(ctx, nc, addr, d.opts, d.use)
}

// dial connects to addr, over TLS if the options say so. A name is looked up
// anew each time.
func dial(ctx context.Context, opts *redis.Options, resolver *net.Resolver, addr string, direct bool) (nc net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, opts.DialTimeout)
	defer cancel()
	plain := net.Dialer{Resolver: resolver}
	nc, err = plain.DialContext(ctx, opts.Network, addr)
	if err != nil {
		return nil, err
	}
	secured := nc
	if direct {
		// For connections with a single reader.
		secured, err = readDirectly(nc)
	}
	if err == nil && opts.TLSConfig != nil {
		config := opts.TLSConfig
		if addr != opts.Addr {
			// It is not the one that the URL names.
			config = config.Clone()
			config.ServerName, _, _ = net.SplitHostPort(addr)
		}
		client := tls.Client(secured, config)
		secured, err = client, client.HandshakeContext(ctx)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return secured, nil
}

// keep remembers nc, unless the dialer is closed.
func (d *dialer) keep(nc net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn = nc
	return !d.closed
}

func (d *dialer) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// close interrupts the connection, and refuses all further ones.
func (d *dialer) close() {
	d.mu.Lock()
	d.closed = true
	nc := d.conn
	d.mu.Unlock()
	if secured, ok := nc.(*tls.Conn); ok {
		// Closing that one would wait to say goodbye.
		nc = secured.NetConn()
	}
	if nc != nil {
		_ = nc.Close()
	}
}

package redistest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// Direction is one of the two that bytes go through a Proxy.
type Direction int

// The directions of a Proxy.
const (
	ToServer Direction = iota
	ToClient
)

// Proxy forwards TCP connections to a server that may change. Its connections
// stay with the server that they were made to, as those of a load balancer do.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex // guards the rest
	target string
	delay  time.Duration
	held   [2]chan struct{} // closed when the direction goes on; nil: it goes
	conns  map[net.Conn]struct{}
	closed bool
}

// StartProxy runs a proxy to target on a free port of host until the test ends.
func StartProxy(tb testing.TB, host, target string) *Proxy {
	tb.Helper()
	return StartProxyOn(tb, net.JoinHostPort(host, "0"), target)
}

// StartProxyOn is StartProxy on an address of the caller's choice.
func StartProxyOn(tb testing.TB, addr, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatalf("redistest: start a proxy: %v", err)
	}
	p := &Proxy{listener: listener, target: target, conns: make(map[net.Conn]struct{})}
	p.running.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr is host:port of the proxy.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Target has later connections go to another server.
func (p *Proxy) Target(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Delay holds every byte up for so long, in each direction.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Hold forwards nothing in one direction, of old and new connections, until go
// on is called.
func (p *Proxy) Hold(d Direction) (goOn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := make(chan struct{})
	p.held[d] = held
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held[d] == held {
			p.held[d] = nil
		}
		close(held)
	})
}

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for d, held := range p.held {
		if held != nil {
			p.held[d] = nil
			close(held)
		}
	}
	p.mu.Unlock()
	p.Cut()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	if !p.keep(client, server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.forward(server, client, ToServer) })
	both.Go(func() { p.forward(client, server, ToClient) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

// keep remembers the connections; false: the proxy has ended, and they are closed.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			_ = c.Close()
		} else {
			p.conns[c] = struct{}{}
		}
	}
	return !p.closed
}

// piece is what one read has brought, and when it may go on.
type piece struct {
	bytes []byte
	due   time.Time
}

// forward copies in one direction until either side closes.
func (p *Proxy) forward(to, from net.Conn, d Direction) {
	pieces := make(chan piece, 1024)
	var writing sync.WaitGroup
	writing.Go(func() {
		for piece := range pieces {
			time.Sleep(time.Until(piece.due))
			p.wait(d)
			if _, err := to.Write(piece.bytes); err != nil {
				break
			}
		}
		// The end of one direction is that of the other.
		_ = to.Close()
		_ = from.Close()
		for range pieces {
		}
	})
	for {
		buffer := make([]byte, 32<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			p.mu.Lock()
			due := time.Now().Add(p.delay)
			p.mu.Unlock()
			pieces <- piece{buffer[:n], due}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	writing.Wait()
}

// wait returns once the direction is not held.
func (p *Proxy) wait(d Direction) {
	for {
		p.mu.Lock()
		held := p.held[d]
		p.mu.Unlock()
		if held == nil {
			return
		}
		<-held
	}
}

package fault

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Link is a TCP relay that can be made to fail. Its methods may be called by
// several goroutines.
type Link struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	pairs  map[*pair]bool
	held   chan struct{} // closed when held data may continue; nil if none is held
	delay  time.Duration
	closed bool
}

// pair is one connection through the link.
type pair struct {
	near, far net.Conn
	cut       bool
}

// NewLink relays connections to target from a free port of loopback. The caller
// ends it with Close.
func NewLink(target string) (*Link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("fault: link: %w", err)
	}
	l := &Link{target: target, listener: listener, pairs: map[*pair]bool{}}
	l.running.Go(l.accept)
	return l, nil
}

// Addr is host:port of the near end.
func (l *Link) Addr() string { return l.listener.Addr().String() }

func (l *Link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		l.running.Go(func() { l.relay(near) })
	}
}

// relay connects to the target, unless the link is held, and relays.
func (l *Link) relay(near net.Conn) {
	p := &pair{near: near}
	if !l.enter(p) {
		_ = near.Close()
		return
	}
	defer l.leave(p)
	l.pass()
	far, err := net.DialTimeout("tcp", l.target, 5*time.Second)
	if err != nil {
		return // as if Redis were gone
	}
	l.mu.Lock()
	p.far = far
	gone := p.cut
	l.mu.Unlock()
	if gone {
		_ = far.Close()
		return
	}
	back := make(chan struct{})
	l.running.Go(func() {
		defer close(back)
		l.copy(near, far)
	})
	l.copy(far, near)
	<-back
}

// copy forwards until one end has ended, and then ends the other.
func (l *Link) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		l.pass()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while the link is held or slow.
func (l *Link) pass() {
	for {
		l.mu.Lock()
		held, delay := l.held, l.delay
		l.mu.Unlock()
		if held == nil {
			time.Sleep(delay)
			return
		}
		<-held
	}
}

func (l *Link) enter(p *pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.pairs[p] = true
	return true
}

func (l *Link) leave(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pairs, p)
	p.end()
}

func (p *pair) end() {
	p.cut = true
	_ = p.near.Close()
	if p.far != nil {
		_ = p.far.Close()
	}
}

// Hold leaves all connections open and forwards nothing, like a network that drops
// every packet. New connections are accepted and get no answer.
func (l *Link) Hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(chan struct{})
	}
}

// Slow delays every piece of data.
func (l *Link) Slow(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = by
}

// Cut ends all connections; new ones are made.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		p.end()
	}
}

// Heal forwards again, beginning with the data that was held, as TCP does when packets
// get through again.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = 0
	if l.held != nil {
		close(l.held)
		l.held = nil
	}
}

// Close ends the link and everything that goes through it.
func (l *Link) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	err := l.listener.Close()
	l.Cut()
	l.Heal()
	l.running.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("fault: close link: %w", err)
	}
	return nil
}

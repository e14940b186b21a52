// Package client runs clients that behave as the published SDKs do and verify what
// they receive: they count every message, and tell messages that were missed after an
// announcement from those that were lost, repeated or late without one. Soak,
// failover, abuse and the tests of faults are judged by their counters.
//
// # What a client does
//
// A client connects, subscribes to its channels, renews its tokens when they expire,
// answers pings, and treats a silence of more than a ping interval and ten seconds as
// the end of the connection. This describes the Centrifuge protocol, in JSON unless
// Options.Kinds says otherwise, or protobuf. In the raw protocol, in server-sent
// events and in HTTP streams, channels and tokens are part of the request, and an
// expired token ends the connection. After the end of a connection, a client
// reconnects after the delay of the SDKs: at random between MinDelay and twice that,
// then up to four times that, and so on up to MaxDelay, each time to the next target.
// If the server ends a subscription with a code of 2500 or above, the client
// subscribes again at once; if it refuses one with a temporary error, after such a
// delay.
//
// # What is lost and what is announced
//
// Messages carry the sequence numbers of package payload, which start at 1 in each
// channel. From the reply to a subscription until its end (a push, a close frame or a
// broken connection), each number must follow the one before, and the first must be at
// most one above the last number that had been handed to Redis when the reply came. A
// number that is missing against these rules is lost. A number that is missing between
// two subscriptions was announced, by the end of the first.
//
// A "gap" event is an announcement too, although the stream continues: everything that
// had been handed to Redis when it came may be missing. The raw protocol and HTTP
// streams cannot signal gaps. What is missing there is lost if any other client of the
// pool received it, because then the node had it: such clients belong in a pool with a
// single target.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The delays of the published SDKs.
const (
	MinDelay = 500 * time.Millisecond
	MaxDelay = 20 * time.Second
)

// Options configure the clients of a Pool.
type Options struct {
	// Targets are the addresses of the nodes, host:port; Retarget changes them.
	Targets []string
	// Channel is the name of the channels, with %d for the number. There are Channels
	// of them, and each client subscribes to Each.
	Channel  string
	Channels int
	Each     int
	// Published returns the last sequence number that was handed to Redis for a
	// channel. Several goroutines call it.
	Published func(channel uint32) uint32
	// Kinds are assigned to the clients in turn; empty means JSON without compression.
	Kinds []Kind
	// TLS is used if it is not nil.
	TLS *tls.Config
	// Token returns the token to subscribe to a channel with, or to connect with if
	// channel is empty. It returns "" if none is needed, and so does a nil Token.
	// Several goroutines call it.
	Token func(channel string) string
	// MinDelay and MaxDelay bound the delay before a client reconnects; 0 means that
	// of the SDKs.
	MinDelay, MaxDelay time.Duration
	// From is the first source address, and Sources is how many follow it. If From is
	// empty, the kernel chooses.
	From    net.IP
	Sources int
}

// Pool is a set of clients with common counters. Its methods may be called by several
// goroutines.
type Pool struct {
	options Options
	counts  counts
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	started atomic.Uint32 // clients so far
	places  uint32        // taken by Start
	targets atomic.Pointer[[]string]

	mu      sync.Mutex // guards members
	members []*client
}

// ErrUnsettled means that some clients had not received everything in time.
var ErrUnsettled = errors.New("client: not everything has arrived")

// New returns an empty pool. The caller ends it with Close.
func New(o Options) *Pool {
	if o.MinDelay == 0 {
		o.MinDelay = MinDelay
	}
	if o.MaxDelay == 0 {
		o.MaxDelay = MaxDelay
	}
	if len(o.Kinds) == 0 {
		o.Kinds = []Kind{{}}
	}
	if o.Token == nil {
		o.Token = func(string) string { return "" }
	}
	c := &Pool{options: o, counts: newCounts(o.Kinds)}
	c.targets.Store(&o.Targets)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Start starts n clients, rate a second (0 means at once), and returns after the last
// has started, which is before it has connected. Only one goroutine may call it at a
// time.
func (c *Pool) Start(ctx context.Context, n int, rate float64) error {
	began := time.Now()
	for i := range n {
		if rate > 0 {
			if err := sleep(ctx, time.Until(began.Add(time.Duration(float64(i)/rate*1e9)))); err != nil {
				return err
			}
		}
		c.add(c.places)
		c.places++
	}
	return nil
}

// add starts a client in a place.
func (c *Pool) add(place uint32) {
	m := newClient(c, c.started.Add(1)-1, place)
	c.mu.Lock()
	c.members = append(c.members, m)
	c.mu.Unlock()
	c.running.Go(func() { m.run(m.ctx) })
}

// Retarget makes clients reconnect to other nodes, as a load balancer does.
func (c *Pool) Retarget(targets ...string) { c.targets.Store(&targets) }

// Size returns the number of clients.
func (c *Pool) Size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members)
}

// all returns a copy of members.
func (c *Pool) all() []*client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*client(nil), c.members...)
}

// Replace ends n clients picked at random and starts as many new ones, of the same
// kinds and in the same channels.
func (c *Pool) Replace(n int, how Ending) {
	for range n {
		c.mu.Lock()
		if len(c.members) == 0 {
			c.mu.Unlock()
			return
		}
		i := rand.IntN(len(c.members))
		m := c.members[i]
		c.members[i] = c.members[len(c.members)-1]
		c.members = c.members[:len(c.members)-1]
		c.mu.Unlock()
		m.leave(how)
		c.counts.replaced.Add(1)
		c.add(m.place)
	}
}

// Interrupt ends the connections of n clients picked at random, which then reconnect.
func (c *Pool) Interrupt(n int, how Ending) {
	members := c.all()
	for _, i := range rand.Perm(len(members))[:min(n, len(members))] {
		members[i].end(how)
	}
}

// Rejoin makes n clients picked at random, of those that can, unsubscribe from a
// channel and subscribe to it again.
func (c *Pool) Rejoin(n int) {
	members := c.all()
	for _, i := range rand.Perm(len(members)) {
		if n == 0 {
			return
		}
		if members[i].rejoin() {
			c.counts.rejoined.Add(1)
			n--
		}
	}
}

// Joined returns how many clients are connected and subscribed to all of their
// channels.
func (c *Pool) Joined() (n int) {
	for _, m := range c.all() {
		if m.joined() {
			n++
		}
	}
	return n
}

// AwaitJoined waits until all clients are subscribed.
func (c *Pool) AwaitJoined(ctx context.Context) error {
	return await(ctx, func() error {
		if joined, size := c.Joined(), c.Size(); joined < size {
			return fmt.Errorf("%w: %d of %d clients are subscribed", ErrUnsettled, joined, size)
		}
		return nil
	})
}

// Settle waits until every client is subscribed and has received everything that was
// published. Nothing may be published meanwhile. What is missing when ctx ends counts
// as lost, and is the error.
func (c *Pool) Settle(ctx context.Context) error {
	err := await(ctx, func() error {
		missing, absent := 0, 0
		for _, m := range c.all() {
			lacks, here := m.outstanding(false)
			missing += lacks
			if !here {
				absent++
			}
		}
		if missing+absent > 0 {
			return fmt.Errorf("%w: %d messages are missing, %d of %d clients are not subscribed", ErrUnsettled, missing, absent, c.Size())
		}
		return nil
	})
	for _, m := range c.all() {
		m.outstanding(true)
	}
	c.counts.judge()
	return err
}

// Close ends all clients and waits for them.
func (c *Pool) Close() {
	for _, m := range c.all() {
		m.leave(Drop)
	}
	c.cancel()
	c.running.Wait()
}

// Counters returns what the clients have counted so far.
func (c *Pool) Counters() Counters { return c.counts.snapshot() }

// Latency returns the latencies of messages, counted from the time they were meant to
// be sent, since it was last called.
func (c *Pool) Latency() *Histogram { return c.counts.latency.take() }

// Return returns how long clients were away, from the end of their connection, or
// their start, until they were subscribed to all of their channels, since it was last
// called.
func (c *Pool) Return() *Histogram { return c.counts.back.take() }

// Notice returns the times from the first message after a gap to the end of the
// subscription, which announced it, since it was last called.
func (c *Pool) Notice() *Histogram { return c.counts.notice.take() }

// Handshake returns the times from the attempt to connect to the server's answer since
// it was last called.
func (c *Pool) Handshake() *Histogram { return c.counts.handshake.take() }

// await calls done until it returns nil, or until ctx ends: then it returns the last
// error of done.
func await(ctx context.Context, done func() error) error {
	for {
		err := done()
		if err == nil {
			return nil
		}
		if sleep(ctx, 20*time.Millisecond) != nil {
			return err
		}
	}
}

// sleep sleeps for d, or until ctx ends: then it returns the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Package witness has clients that behave as the published SDKs do, and that
// keep account of every message: what came, what was missed while the server had
// said so, and what was missed, came twice or came late although it had not.
// Soak, torture, storm and the tests of faults are judged by what they saw.
//
// # What they do
//
// A witness connects, subscribes to its channels, renews its tokens when they have run
// out, answers pings, and takes a silence that is longer than a ping's interval and
// ten seconds for the end of the connection. That is so in the Centrifuge protocol,
// as JSON, unless Options.Kinds says otherwise, or as protobuf. Over the raw protocol,
// server-sent events and streams of lines, its channels and tokens are in the request,
// and a token that has run out ends the connection. It comes back after the end of a
// connection with the delay of the SDKs: between MinDelay and twice that, at
// random, then up to four times, and so on to MaxDelay; at each attempt to the next
// of its targets. A subscription that the server ends with code 2500 or above
// it asks for again at once, one that is refused with a temporary error after
// such a delay.
//
// # What is lost and what was announced
//
// Messages bear package payload's sequence numbers, counted from 1 on each
// channel. From the reply to a subscription to its end, by a push, a close or a
// break, every number must follow the one before it; and the first must not be
// above the last one that had been handed to Redis when the reply came, plus
// one. A number that is missing against these rules is lost. One that is missing
// between two subscriptions was announced, by the end of the first.
//
// An event "gap" announces as well, and the stream goes on: nothing is owed up to the
// last one that had been handed to Redis when it came. The raw protocol and lines have
// no word for gaps. What is missing there is lost if any other witness of the crew
// received it, for then the node had it: such witnesses belong into a crew with one
// target.
package witness

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

// Options say what the witnesses of a Crew do.
type Options struct {
	// Targets are the addresses of the nodes, host:port; Retarget changes them.
	Targets []string
	// Channel is the channels' name, with %d for the number, Channels how many
	// there are, and Each to how many of them each witness subscribes.
	Channel  string
	Channels int
	Each     int
	// Published returns the last sequence number handed to Redis for a channel. It
	// is called by many goroutines.
	Published func(channel uint32) uint32
	// Kinds are those of the witnesses, in turn; empty: JSON without
	// compression.
	Kinds []Kind
	// TLS is spoken with the targets; nil: none.
	TLS *tls.Config
	// Token returns the token to subscribe to a channel with, or with "" the one to
	// connect with; empty: none is needed. It is called by many goroutines. Nil: none
	// is.
	Token func(channel string) string
	// MinDelay and MaxDelay bound the pause before a witness comes back; 0: those
	// of the SDKs.
	MinDelay, MaxDelay time.Duration
	// From is the first source address, Sources how many follow it; empty: the
	// kernel's choice.
	From    net.IP
	Sources int
}

// Crew is a number of witnesses and their common account. Its methods may be
// called by several goroutines.
type Crew struct {
	options Options
	account account
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	started atomic.Uint32 // witnesses ever
	places  uint32        // taken by Start
	targets atomic.Pointer[[]string]

	mu      sync.Mutex // guards members
	members []*client
}

// ErrUnsettled says that witnesses had not all received everything in time.
var ErrUnsettled = errors.New("witness: not everything has arrived")

// New returns a crew without members. The caller ends it with Close.
func New(o Options) *Crew {
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
	c := &Crew{options: o, account: newAccount(o.Kinds)}
	c.targets.Store(&o.Targets)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Start starts n witnesses, rate a second (0: at once), and returns when the last
// has started, which is before it is connected. One goroutine calls it at a time.
func (c *Crew) Start(ctx context.Context, n int, rate float64) error {
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

// add starts a witness in a place.
func (c *Crew) add(place uint32) {
	m := newClient(c, c.started.Add(1)-1, place)
	c.mu.Lock()
	c.members = append(c.members, m)
	c.mu.Unlock()
	c.running.Go(func() { m.run(m.ctx) })
}

// Retarget sends witnesses that come back to other nodes, as a load balancer
// does.
func (c *Crew) Retarget(targets ...string) { c.targets.Store(&targets) }

// Size is how many witnesses there are.
func (c *Crew) Size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members)
}

// all is a copy of the members.
func (c *Crew) all() []*client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*client(nil), c.members...)
}

// Replace ends n witnesses picked at random and starts as many new ones of the same
// kinds on the same channels.
func (c *Crew) Replace(n int, how Ending) {
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
		c.account.replaced.Add(1)
		c.add(m.place)
	}
}

// Interrupt breaks the connections of n witnesses picked at random, which then
// come back as after any break.
func (c *Crew) Interrupt(n int, how Ending) {
	members := c.all()
	for _, i := range rand.Perm(len(members))[:min(n, len(members))] {
		members[i].end(how)
	}
}

// Rejoin makes n witnesses picked at random unsubscribe from one of their
// channels and subscribe to it again, of those that can.
func (c *Crew) Rejoin(n int) {
	members := c.all()
	for _, i := range rand.Perm(len(members)) {
		if n == 0 {
			return
		}
		if members[i].rejoin() {
			c.account.rejoined.Add(1)
			n--
		}
	}
}

// Joined is how many witnesses are connected and subscribed to all of their
// channels.
func (c *Crew) Joined() (n int) {
	for _, m := range c.all() {
		if m.joined() {
			n++
		}
	}
	return n
}

// AwaitJoined waits until all witnesses are subscribed.
func (c *Crew) AwaitJoined(ctx context.Context) error {
	return await(ctx, func() error {
		if joined, size := c.Joined(), c.Size(); joined < size {
			return fmt.Errorf("%w: %d of %d witnesses are subscribed", ErrUnsettled, joined, size)
		}
		return nil
	})
}

// Settle waits until every witness is subscribed and has all that was published,
// which meanwhile must have ceased. What is missing when ctx ends counts as lost,
// and is the error.
func (c *Crew) Settle(ctx context.Context) error {
	err := await(ctx, func() error {
		missing, absent := 0, 0
		for _, m := range c.all() {
			lacks, here := m.lacking(false)
			missing += lacks
			if !here {
				absent++
			}
		}
		if missing+absent > 0 {
			return fmt.Errorf("%w: %d messages are missing, %d of %d witnesses are not subscribed", ErrUnsettled, missing, absent, c.Size())
		}
		return nil
	})
	for _, m := range c.all() {
		m.lacking(true)
	}
	c.account.judge()
	return err
}

// Close ends all witnesses and waits until they have ended.
func (c *Crew) Close() {
	for _, m := range c.all() {
		m.leave(Drop)
	}
	c.cancel()
	c.running.Wait()
}

// Tally is what the crew has seen so far.
func (c *Crew) Tally() Tally { return c.account.tally() }

// Latency and Return take the histograms of what happened since they were last
// called: of messages from their intended time, and of witnesses from the break
// of their connection, or their start, until all their channels were
// subscribed.
func (c *Crew) Latency() *Histogram { return c.account.latency.take() }

// Return is described at Latency.
func (c *Crew) Return() *Histogram { return c.account.back.take() }

// Notice takes the histogram of the times from the first message after a hole to
// the end of the subscription, which announced it, since it was last called.
func (c *Crew) Notice() *Histogram { return c.account.notice.take() }

// Handshake takes the histogram of the times from the attempt to connect to the
// server's answer since it was last called.
func (c *Crew) Handshake() *Histogram { return c.account.handshake.take() }

// await asks until there is no error, or until ctx ends: then the error says
// what was missing last.
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

// sleep sleeps for d or until ctx ends, which is the error.
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

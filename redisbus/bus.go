package redisbus

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/tandem-ws/tandem/modes"
)

// Bus is the link to Redis. It implements modes.Bus; all its methods may be
// called concurrently.
type Bus struct {
	opts      Options
	topology  topology
	links     []*link
	publisher *publisher
	seed      maphash.Seed
	wake      chan struct{} // capacity 1: answer has something to do

	mu     sync.Mutex // guards the life of the goroutines: cancel and closed
	cancel context.CancelFunc
	closed bool
	wg     sync.WaitGroup
}

var _ modes.Bus = (*Bus)(nil)

// New returns a Bus that does nothing until Start. Its error is one line that
// says what is wrong with the options, and holds no password.
func New(opts Options) (*Bus, error) {
	opts.setDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	redisOpts, topology, err := opts.topology()
	if err != nil {
		return nil, err
	}
	b := &Bus{opts: opts, topology: topology, seed: maphash.MakeSeed(), wake: make(chan struct{}, 1)}
	probe, notes := newProbe(opts.Prefix), new(notes)
	for i := range opts.Connections {
		dialer := &dialer{opts: redisOpts, topology: topology, resolver: opts.resolver, use: forPubSub}
		b.links = append(b.links, newLink(i, &b.opts, dialer, probe, notes))
	}
	b.publisher = newPublisher(&b.opts, &dialer{opts: redisOpts, topology: topology, resolver: opts.resolver}, probe, notes)
	b.publisher.probed = func() { b.each((*link).notify) }
	b.publisher.demoted = func() { b.each((*link).doubt) }
	return b, nil
}

// Start connects in the background, stays connected, and feeds receiver. It may
// be called once. Until Redis has answered, Ready says so and Subscribe fails with
// ErrNotConnected.
func (b *Bus) Start(receiver modes.Receiver) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return fmt.Errorf("redisbus: start: %w", ErrClosed)
	}
	if b.cancel != nil {
		return errors.New("redisbus: start: already started")
	}
	b.launch(receiver)
	return nil
}

// each calls f with every link.
func (b *Bus) each(f func(*link)) {
	for _, l := range b.links {
		f(l)
	}
}

// moved has every connection look whether it leads to the master.
func (b *Bus) moved() {
	b.each((*link).moved)
	b.publisher.moved()
}

// launch starts the goroutines. b.mu is held.
func (b *Bus) launch(receiver modes.Receiver) {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	for _, l := range b.links {
		b.wg.Go(func() { l.run(ctx, receiver) })
	}
	b.wg.Go(func() { b.answer(ctx) })
	b.wg.Go(func() { b.topology.run(ctx, b.moved) })
	b.wg.Go(func() { b.publisher.run(ctx) })
	b.wg.Go(func() { b.publisher.refuseAll(ctx) })
}

// Close disconnects and returns when every goroutine of the bus has ended. It
// does not wait for Redis: Subscribe calls that wait and publications that are
// queued fail. It must not be called from Deliver, Lost or a done function.
func (b *Bus) Close() {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		if b.cancel == nil {
			// What has been queued for publishing is still owed its done.
			b.launch(nil)
		}
		b.cancel()
		for _, l := range b.links {
			l.dialer.close()
		}
		b.publisher.dialer.close()
	}
	b.mu.Unlock()
	b.wg.Wait()
}

// Subscribe takes one reference on channel. done runs exactly once, on a goroutine
// of the bus, and must not block. It gets nil once Redis has confirmed the channel
// on the present link, and otherwise ErrNotConnected if the link is down or breaks
// meanwhile, an error that wraps context.DeadlineExceeded after
// Options.SubscribeTimeout, or what Redis answered; then no reference is held. After Close
// it gets ErrClosed before Subscribe returns. The bus keeps the string, so channel
// must not be part of a larger one.
func (b *Bus) Subscribe(channel string, done func(error)) {
	l := b.link(channel)
	wake, err := l.channels.acquire(channel, l.now(), done)
	if err != nil {
		done(err)
		return
	}
	if wake.link {
		l.notify()
	}
	if wake.answerer {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// answer calls done for the Subscribe calls that no answer of Redis ends: those
// for channels that are confirmed already, those without a link, and those that
// have waited too long. It has one timer for all of them.
func (b *Bus) answer(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		final := false
		select {
		case <-ctx.Done():
			final = true
		case <-b.wake:
		case <-timer.C:
		}
		wait := time.Duration(math.MaxInt64)
		for _, l := range b.links {
			now := l.now()
			due, again := l.channels.overdue(now, final)
			due.call()
			if again > 0 {
				wait = min(wait, again-now)
			}
		}
		if final {
			return
		}
		timer.Reset(wait)
	}
}

// Unsubscribe gives one reference back. It never blocks. The channel stays
// subscribed in Redis for a while, see Options.Linger.
func (b *Bus) Unsubscribe(channel string) {
	l := b.link(channel)
	held, wake := l.channels.release(channel, l.now())
	if wake {
		l.notify()
	}
	if !held {
		b.opts.Log.Error("redisbus: Unsubscribe without Subscribe", "channel", channel)
	}
}

// Publish queues data that a client publishes to channel and returns at once. Calls
// from one goroutine reach Redis in order. done runs exactly once, on a goroutine of
// the bus, and must not block; its error is nil when Redis has accepted the message,
// ErrPublishQueueFull when the part of the queue that clients may fill is full,
// ErrNotConnected when the link is down (if it broke after the message was written,
// Redis may have accepted it all the same), or what Redis answered. After Close it
// gets ErrClosed before Publish returns, since there is no goroutine left to run it.
// The bus owns data until done is called.
func (b *Bus) Publish(channel string, data []byte, done func(error)) {
	b.publish(publication{name: b.opts.Prefix + channel, data: data, done: done, client: true})
}

// PublishForBackEnd is Publish for a back end, which may fill all of the queue: no
// client can make it fail.
func (b *Bus) PublishForBackEnd(channel string, data []byte, done func(error)) {
	b.publish(publication{name: b.opts.Prefix + channel, data: data, done: done})
}

func (b *Bus) publish(pub publication) {
	if !b.publisher.enqueue(pub) {
		pub.done(ErrClosed)
	}
}

// Ready is nil when every link to Redis is up, every channel that has
// references is subscribed, and the last command was answered. Its error says which
// link it is and why, and wraps ErrNotConnected unless Redis refuses channels.
func (b *Bus) Ready() error {
	for i, l := range b.links {
		if err := l.ready(); err != nil {
			return fmt.Errorf("link %d: %w", i, err)
		}
	}
	return b.publisher.ready()
}

func (b *Bus) link(channel string) *link {
	if len(b.links) == 1 {
		return b.links[0]
	}
	return b.links[maphash.String(b.seed, channel)%uint64(len(b.links))]
}

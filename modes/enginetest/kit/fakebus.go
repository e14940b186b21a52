package kit

import (
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-ws/tandem/modes"
)

// ErrRefused is what a FakeBus fails with when it is told to.
var ErrRefused = errors.New("enginetest: the bus refuses")

// FakeBus is a Bus in memory whose confirmations can be held and failed, and
// which counts references. It delivers from several goroutines, one for each
// part of the channels, as the real one does. What clients publish comes back
// as publications.
type FakeBus struct {
	t        Tester
	seed     maphash.Seed
	receiver modes.Receiver
	lanes    [4]lane
	running  sync.WaitGroup

	mu    sync.Mutex // guards all below
	refs  map[string]int
	gates map[string]*gate
	// waiting counts the Subscribe calls that wait at a gate, by channel.
	waiting map[string]int
	// patience is how long a Subscribe may wait at a gate.
	patience time.Duration
	// refuse makes every Publish fail, holding keeps it from being answered until
	// it is released.
	refuse, holding bool
	held            []func()
	// away makes every Subscribe fail, and Ready.
	away bool
	// vary decides, for some channels, how long a Subscribe takes and whether it
	// fails.
	vary map[string]func() (time.Duration, error)
}

// gate holds the confirmations of channels until it opens. The FakeBus's mu
// guards it.
type gate struct {
	held []*heldSubscribe
}

// heldSubscribe is a Subscribe that waits at a gate.
type heldSubscribe struct {
	channel  string
	done     func(error)
	expiry   *time.Timer
	answered bool
}

// lane is a queue with one goroutine that empties it.
type lane struct {
	mu     sync.Mutex // guards all below
	ready  sync.Cond  // signals changes of the queue
	queue  []func()
	closed bool
}

func newFakeBus(t Tester) *FakeBus {
	b := &FakeBus{
		t: t, seed: maphash.MakeSeed(),
		refs: map[string]int{}, gates: map[string]*gate{}, waiting: map[string]int{}, patience: Patience,
		vary: map[string]func() (time.Duration, error){},
	}
	for i := range b.lanes {
		b.lanes[i].ready.L = &b.lanes[i].mu
	}
	return b
}

// Start implements modes.Bus.
func (b *FakeBus) Start(r modes.Receiver) error {
	b.receiver = r
	for i := range b.lanes {
		b.running.Go(b.lanes[i].run)
	}
	return nil
}

// Close implements modes.Bus. What is queued is delivered.
func (b *FakeBus) Close() {
	for i := range b.lanes {
		b.lanes[i].close()
	}
	b.running.Wait()
}

func (l *lane) run() {
	for {
		l.mu.Lock()
		for len(l.queue) == 0 && !l.closed {
			l.ready.Wait()
		}
		queue := l.queue
		l.queue = nil
		l.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, f := range queue {
			f()
		}
	}
}

// push queues f; false: the lane has ended.
func (l *lane) push(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.queue = append(l.queue, f)
		l.ready.Signal()
	}
	return !l.closed
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.ready.Signal()
}

func (b *FakeBus) lane(channel string) *lane {
	return &b.lanes[maphash.String(b.seed, channel)%uint64(len(b.lanes))]
}

// Subscribe implements modes.Bus.
func (b *FakeBus) Subscribe(channel string, done func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := &heldSubscribe{channel: channel, done: done}
	b.waiting[channel]++
	g := b.gates[channel]
	vary := b.vary[channel]
	switch {
	case b.away:
		b.answer(h, ErrRefused)
	case g == nil && vary != nil:
		after, err := vary()
		h.expiry = time.AfterFunc(after, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.answer(h, err)
		})
	case g == nil:
		b.answer(h, nil)
	default:
		g.held = append(g.held, h)
		h.expiry = time.AfterFunc(b.patience, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.answer(h, context.DeadlineExceeded)
		})
	}
}

// answer has the channel's goroutine call done; mu is held.
func (b *FakeBus) answer(h *heldSubscribe, err error) {
	if h.answered {
		return
	}
	h.answered = true
	if h.expiry != nil {
		h.expiry.Stop()
	}
	if b.waiting[h.channel]--; b.waiting[h.channel] == 0 {
		delete(b.waiting, h.channel)
	}
	if err == nil {
		b.refs[h.channel]++
	}
	if !b.lane(h.channel).push(func() { h.done(err) }) {
		b.t.Errorf("the engine subscribes to %q after it has ended", h.channel)
	}
}

// Stats implements modes.Bus.
func (b *FakeBus) Stats() modes.BusStats { return modes.BusStats{} }

// Unsubscribe implements modes.Bus.
func (b *FakeBus) Unsubscribe(channel string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch n := b.refs[channel]; n {
	case 0:
		b.t.Errorf("the engine gave back a reference to %q that it does not hold", channel)
	case 1:
		delete(b.refs, channel)
	default:
		b.refs[channel] = n - 1
	}
}

// Ready implements modes.Bus.
func (b *FakeBus) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return ErrRefused
	}
	return nil
}

// GoAway sets whether the link is down.
func (b *FakeBus) GoAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

// Publish implements modes.Bus.
func (b *FakeBus) Publish(channel string, data []byte, done func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	refuse := b.refuse
	publish := func() {
		b.lane(channel).push(func() {
			if refuse {
				done(ErrRefused)
				return
			}
			b.deliver(channel, data)
			done(nil)
		})
	}
	if b.holding {
		b.held = append(b.held, publish)
		return
	}
	publish()
}

// Send delivers one publication, from the channel's goroutine.
func (b *FakeBus) Send(channel, data string) {
	b.lane(channel).push(func() { b.deliver(channel, []byte(data)) })
}

// deliver gives the engine what it may not keep.
func (b *FakeBus) deliver(channel string, data []byte) {
	name, data := []byte(channel), append([]byte(nil), data...)
	b.receiver.Deliver(modes.Publication{Channel: name, Data: data})
	clear(name)
	clear(data)
	b.receiver.Flush()
}

// Flush returns once everything published before has been handed to the engine,
// whatever the channel.
func (b *FakeBus) Flush() {
	var flushed sync.WaitGroup
	for i := range b.lanes {
		flushed.Add(1)
		b.lanes[i].push(flushed.Done)
	}
	flushed.Wait()
}

// Lost reports that publications to channels may have been missed.
func (b *FakeBus) Lost(channels ...string) {
	b.lanes[0].push(func() { b.receiver.Lost(channels) })
}

// Hold makes every later Subscribe of the channels wait. What it returns lets
// them go on, with that result.
func (b *FakeBus) Hold(channels ...string) (release func(error)) {
	g := new(gate)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, channel := range channels {
		b.gates[channel] = g
	}
	return func(err error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, channel := range channels {
			delete(b.gates, channel)
		}
		for _, h := range g.held {
			b.answer(h, err)
		}
		g.held = nil
	}
}

// Varies has every later Subscribe of the channels take its own time, and one in
// so many fail; 0: none.
func (b *FakeBus) Varies(random *rand.Rand, failing int, channels ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, channel := range channels {
		b.vary[channel] = func() (after time.Duration, err error) {
			if failing > 0 && random.IntN(failing) == 0 {
				err = ErrRefused
			}
			return time.Duration(random.IntN(3)) * time.Duration(random.IntN(1000)) * time.Microsecond, err
		}
	}
}

// HoldPublish keeps what clients publish from Redis. What it returns lets it go.
func (b *FakeBus) HoldPublish() (release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.holding = false
		for _, publish := range b.held {
			publish()
		}
		b.held = nil
	}
}

// HeldPublishes is how many Publish wait for HoldPublish's release.
func (b *FakeBus) HeldPublishes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.held)
}

// RefusePublish sets whether what clients publish fails.
func (b *FakeBus) RefusePublish(refuse bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = refuse
}

// References is how many references the engine holds.
func (b *FakeBus) References() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := 0
	for _, n := range b.refs {
		sum += n
	}
	return sum
}

// WaitingSubscribes is how many Subscribe calls are not answered.
func (b *FakeBus) WaitingSubscribes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := 0
	for _, n := range b.waiting {
		sum += n
	}
	return sum
}

// AwaitWaiting waits until a Subscribe of channel waits for its confirmation.
func (b *FakeBus) AwaitWaiting(t Tester, channel string) {
	t.Helper()
	Await(t, "a held subscription to "+channel, func() (bool, string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.waiting[channel] > 0, "none"
	})
}

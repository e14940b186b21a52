package enginetest

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"

	"github.com/tandem-ws/tandem/modes"
)

// errRefused is what a fakeBus fails with when it is told to.
var errRefused = errors.New("enginetest: the bus refuses")

// fakeBus is a Bus in memory whose confirmations can be held and failed, and
// which counts references. It delivers from several goroutines, one for each
// part of the channels, as the real one does. What clients publish comes back
// as publications.
type fakeBus struct {
	t        tester
	seed     maphash.Seed
	receiver modes.Receiver
	lanes    [4]lane
	running  sync.WaitGroup

	mu    sync.Mutex // guards all below
	refs  map[string]int
	gates map[string]*gate
	// waiting counts the Subscribe calls that wait at a gate, by channel.
	waiting map[string]int
	// refuse makes every Publish fail.
	refuse bool
	// away makes every Subscribe fail, and Ready.
	away bool
}

// gate holds the confirmations of a channel until it opens.
type gate struct {
	opened chan struct{}
	err    error // read only after opened is closed
}

// lane is a queue with one goroutine that empties it.
type lane struct {
	mu     sync.Mutex // guards all below
	ready  sync.Cond  // signals changes of the queue
	queue  []func()
	closed bool
}

func newFakeBus(t tester) *fakeBus {
	b := &fakeBus{
		t: t, seed: maphash.MakeSeed(),
		refs: map[string]int{}, gates: map[string]*gate{}, waiting: map[string]int{},
	}
	for i := range b.lanes {
		b.lanes[i].ready.L = &b.lanes[i].mu
	}
	return b
}

func (b *fakeBus) start(r modes.Receiver) {
	b.receiver = r
	for i := range b.lanes {
		b.running.Go(b.lanes[i].run)
	}
}

// stop ends the goroutines of the bus once what is queued has been delivered.
func (b *fakeBus) stop() {
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

func (l *lane) push(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.queue = append(l.queue, f)
		l.ready.Signal()
	}
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.ready.Signal()
}

func (b *fakeBus) lane(channel string) *lane {
	return &b.lanes[maphash.String(b.seed, channel)%uint64(len(b.lanes))]
}

// Subscribe implements modes.Bus.
func (b *fakeBus) Subscribe(ctx context.Context, channel string) error {
	b.mu.Lock()
	if b.away {
		b.mu.Unlock()
		return errRefused
	}
	g := b.gates[channel]
	if g == nil {
		b.refs[channel]++
		b.mu.Unlock()
		return nil
	}
	b.waiting[channel]++
	b.mu.Unlock()

	var err error
	select {
	case <-g.opened:
		err = g.err
	case <-ctx.Done():
		err = ctx.Err()
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting[channel]--; b.waiting[channel] == 0 {
		delete(b.waiting, channel)
	}
	if err == nil {
		b.refs[channel]++
	}
	return err
}

// Unsubscribe implements modes.Bus.
func (b *fakeBus) Unsubscribe(channel string) {
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
func (b *fakeBus) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return errRefused
	}
	return nil
}

// goAway says whether the link is down.
func (b *fakeBus) goAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

// Publish implements modes.Bus.
func (b *fakeBus) Publish(channel string, data []byte, done func(error)) {
	b.mu.Lock()
	refuse := b.refuse
	b.mu.Unlock()
	b.lane(channel).push(func() {
		if refuse {
			done(errRefused)
			return
		}
		b.deliver(channel, data)
		done(nil)
	})
}

// publish delivers one publication, from the channel's goroutine.
func (b *fakeBus) publish(channel, data string) {
	b.lane(channel).push(func() { b.deliver(channel, []byte(data)) })
}

// deliver gives the engine what it may not keep.
func (b *fakeBus) deliver(channel string, data []byte) {
	name, data := []byte(channel), append([]byte(nil), data...)
	b.receiver.Deliver(name, data)
	clear(name)
	clear(data)
	b.receiver.Flush()
}

// flush returns once everything published before has been handed to the engine,
// whatever the channel.
func (b *fakeBus) flush() {
	var flushed sync.WaitGroup
	for i := range b.lanes {
		flushed.Add(1)
		b.lanes[i].push(flushed.Done)
	}
	flushed.Wait()
}

// lost says that publications to channels may have been missed.
func (b *fakeBus) lost(channels ...string) {
	b.lanes[0].push(func() { b.receiver.Lost(channels) })
}

// hold makes every later Subscribe of the channels wait. What it returns lets
// them go on, with that result.
func (b *fakeBus) hold(channels ...string) (release func(error)) {
	g := &gate{opened: make(chan struct{})}
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
		g.err = err
		close(g.opened)
	}
}

// refusePublish says whether what clients publish fails.
func (b *fakeBus) refusePublish(refuse bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = refuse
}

// references is how many references the engine holds.
func (b *fakeBus) references() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := 0
	for _, n := range b.refs {
		sum += n
	}
	return sum
}

// awaitWaiting waits until a Subscribe of channel waits for its confirmation.
func (b *fakeBus) awaitWaiting(t tester, channel string) {
	t.Helper()
	await(t, "a held subscription to "+channel, func() (bool, string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.waiting[channel] > 0, "none"
	})
}

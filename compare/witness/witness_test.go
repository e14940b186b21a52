package witness

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/payload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a witness without a connection, and what has been published.
type bench struct {
	*client
	published uint32
}

func newBench() *bench {
	b := &bench{}
	crew := New(Options{Channel: "c-%d", Channels: 4, Each: 1, Published: func(uint32) uint32 { return b.published }})
	b.client = newClient(crew, 0)
	crew.members = []*client{b.client}
	return b
}

// join is a subscription when so much had been published.
func (b *bench) join(published uint32) {
	b.published = published
	b.askAll()
	b.confirmed(firstID)
}

func (b *bench) get(sequences ...uint32) {
	for _, s := range sequences {
		b.message([]byte("c-0"), payload.Message{Sequence: s}, time.Now())
	}
}

// settle is Settle when so much had been published.
func (b *bench) settle(published uint32) {
	b.published = published
	b.lacking(true)
}

func TestAccount(t *testing.T) {
	for _, c := range []struct {
		name                               string
		do                                 func(b *bench)
		announced, lost, repeated, strayed int64
	}{
		{"all", func(b *bench) { b.join(0); b.get(1, 2, 3); b.settle(3) }, 0, 0, 0, 0},
		{"what was published before the subscription is not due", func(b *bench) { b.join(7); b.get(8); b.settle(8) }, 0, 0, 0, 0},
		{"what was on its way at the reply may come", func(b *bench) { b.join(7); b.get(6, 7, 8); b.settle(8) }, 0, 0, 0, 0},
		{"a hole", func(b *bench) { b.join(0); b.get(1, 2, 5); b.settle(5) }, 0, 2, 0, 0},
		{"a hole before the first", func(b *bench) { b.join(7); b.get(10); b.settle(10) }, 0, 2, 0, 0},
		{"the last ones are missing", func(b *bench) { b.join(0); b.get(1); b.settle(4) }, 0, 3, 0, 0},
		{"all are missing", func(b *bench) { b.join(2); b.settle(4) }, 0, 2, 0, 0},
		{"twice", func(b *bench) { b.join(0); b.get(1, 1, 2); b.settle(2) }, 0, 0, 1, 0},
		{"late", func(b *bench) { b.join(0); b.get(1, 3, 2); b.settle(3) }, 0, 1, 1, 0},
		{"a hole between subscriptions", func(b *bench) {
			b.join(0)
			b.get(1)
			b.gap("c-0")
			b.published = 5
			b.confirmed(firstID)
			b.get(6)
			b.settle(6)
		}, 4, 0, 0, 0},
		{"a hole between subscriptions and one more", func(b *bench) {
			b.join(0)
			b.get(1)
			b.gap("c-0")
			b.published = 5
			b.confirmed(firstID)
			b.get(8)
			b.settle(8)
		}, 4, 2, 0, 0},
		{"a hole announced late", func(b *bench) {
			b.join(0)
			b.get(1, 4, 5)
			b.gap("c-0")
			b.published = 5
			b.confirmed(firstID)
			b.get(6)
			b.settle(6)
		}, 2, 0, 0, 0},
		{"a hole, and the witness leaves before it is told", func(b *bench) {
			b.join(0)
			b.get(1, 4)
			b.views[0].state = leaving
			b.get(5)
			b.confirmed(firstID + 1)
			b.published = 6
			b.confirmed(firstID)
			b.get(7)
			b.settle(7)
		}, 3, 0, 0, 0},
		{"a hole at the end of the connection", func(b *bench) {
			b.join(0)
			b.get(1)
			b.detach()
			b.join(3)
			b.settle(3)
		}, 2, 0, 0, 0},
		{"after the end of the subscription", func(b *bench) { b.join(0); b.get(1); b.gap("c-0"); b.get(2) }, 0, 0, 0, 1},
		{"before the reply", func(b *bench) { b.askAll(); b.get(1) }, 0, 0, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench()
			c.do(b)
			got := b.crew.Tally()
			if got.Announced != c.announced || got.Lost != c.lost || got.Repeated != c.repeated || got.Stray != c.strayed {
				t.Errorf("announced %d, lost %d, repeated %d, stray %d; want %d, %d, %d, %d",
					got.Announced, got.Lost, got.Repeated, got.Stray, c.announced, c.lost, c.repeated, c.strayed)
			}
			if clean := c.lost+c.repeated+c.strayed == 0; got.Clean() != clean {
				t.Errorf("clean %t, want %t", got.Clean(), clean)
			}
		})
	}
}

func TestMisrouted(t *testing.T) {
	b := newBench()
	b.join(0)
	b.message([]byte("c-1"), payload.Message{Sequence: 1, Channel: 1}, time.Now())
	b.message([]byte("c-0"), payload.Message{Sequence: 1, Channel: 1}, time.Now())
	if got := b.crew.Tally().Misrouted; got != 2 {
		t.Errorf("%d misrouted, want 2", got)
	}
}

// Unasked replies and ends of subscriptions are noticed.
func TestUnasked(t *testing.T) {
	b := newBench()
	if ok, _ := b.confirmed(firstID); ok {
		t.Error("a reply that nobody asked for was taken")
	}
	if i, _ := b.gap("c-0"); i >= 0 {
		t.Error("the end of no subscription was taken")
	}
	b.join(0)
	if i, _ := b.gap("c-9"); i >= 0 {
		t.Error("the end of a subscription to another channel was taken")
	}
	if _, _, ok := b.refused(firstID); ok {
		t.Error("an error in answer to nothing was taken")
	}
}

// Delays are those of the SDKs: jittered, doubling, bounded.
func TestDelay(t *testing.T) {
	o := Options{MinDelay: MinDelay, MaxDelay: MaxDelay}
	for attempts, most := range []time.Duration{time.Second, 1500 * time.Millisecond, 2500 * time.Millisecond, 4500 * time.Millisecond} {
		var seen []time.Duration
		for range 200 {
			seen = append(seen, o.delay(attempts))
		}
		if low, high := slices.Min(seen), slices.Max(seen); low < MinDelay || high > most || high-low < (most-MinDelay)/2 {
			t.Errorf("attempt %d: from %v to %v, want spread between %v and %v", attempts, low, high, MinDelay, most)
		}
	}
	if d := o.delay(1000); d > MaxDelay {
		t.Errorf("after many attempts: %v, more than %v", d, MaxDelay)
	}
}

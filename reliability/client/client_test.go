package client

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a client without a connection, and what has been published.
type fixture struct {
	*client
	published uint32
}

func newFixture(kinds ...Kind) *fixture {
	b := &fixture{}
	pool := New(Options{Channel: "c-%d", Channels: 4, Each: 1, Published: func(uint32) uint32 { return b.published }, Kinds: kinds})
	b.client = newClient(pool, 0, 0)
	pool.members = []*client{b.client}
	return b
}

// join subscribes when so much has been published.
func (b *fixture) join(published uint32) {
	b.published = published
	b.askAll()
	b.confirmed(firstID)
}

// rejoin ends the subscription with 2500 and subscribes again when so much has been
// published.
func (b *fixture) rejoin(published uint32) {
	b.gap("c-0")
	b.published = published
	b.confirmed(firstID)
}

func (b *fixture) get(sequences ...uint32) {
	for _, s := range sequences {
		b.message([]byte("c-0"), workload.Message{Sequence: s}, time.Now())
	}
}

// others is what another client of the pool received.
func (b *fixture) others(sequences ...uint32) {
	for _, s := range sequences {
		b.pool.counts.addReceived(Kind{}, workload.Message{Sequence: s})
	}
}

// settle is Settle when so much has been published.
func (b *fixture) settle(published uint32) {
	b.published = published
	b.outstanding(true)
	b.pool.counts.judge()
}

// countersCase is what a client must count.
type countersCase struct {
	name                                    string
	do                                      func(b *fixture)
	announced, lost, repeated, unsubscribed int64
}

func (c *countersCase) check(t *testing.T, kinds ...Kind) {
	t.Helper()
	t.Run(c.name, func(t *testing.T) {
		b := newFixture(kinds...)
		c.do(b)
		got := b.pool.Counters()
		if got.Announced != c.announced || got.Lost != c.lost || got.Repeated != c.repeated || got.Unsubscribed != c.unsubscribed {
			t.Errorf("announced %d, lost %d, repeated %d, unsubscribed %d; want %d, %d, %d, %d",
				got.Announced, got.Lost, got.Repeated, got.Unsubscribed, c.announced, c.lost, c.repeated, c.unsubscribed)
		}
		if clean := c.lost+c.repeated+c.unsubscribed == 0; got.Clean() != clean {
			t.Errorf("clean %t, want %t", got.Clean(), clean)
		}
	})
}

func TestCounters(t *testing.T) {
	for _, c := range []countersCase{
		{"all", func(b *fixture) { b.join(0); b.get(1, 2, 3); b.settle(3) }, 0, 0, 0, 0},
		{"what was published before the subscription is not due", func(b *fixture) { b.join(7); b.get(8); b.settle(8) }, 0, 0, 0, 0},
		{"what was on its way at the reply may come", func(b *fixture) { b.join(7); b.get(6, 7, 8); b.settle(8) }, 0, 0, 0, 0},
		{"a hole", func(b *fixture) { b.join(0); b.get(1, 2, 5); b.settle(5) }, 0, 2, 0, 0},
		{"a hole before the first", func(b *fixture) { b.join(7); b.get(10); b.settle(10) }, 0, 2, 0, 0},
		{"the last ones are missing", func(b *fixture) { b.join(0); b.get(1); b.settle(4) }, 0, 3, 0, 0},
		{"all are missing", func(b *fixture) { b.join(2); b.settle(4) }, 0, 2, 0, 0},
		{"twice", func(b *fixture) { b.join(0); b.get(1, 1, 2); b.settle(2) }, 0, 0, 1, 0},
		{"late", func(b *fixture) { b.join(0); b.get(1, 3, 2); b.settle(3) }, 0, 1, 1, 0},
		{"a hole between subscriptions", func(b *fixture) { b.join(0); b.get(1); b.rejoin(5); b.get(6); b.settle(6) }, 4, 0, 0, 0},
		{"a hole between subscriptions and one more", func(b *fixture) { b.join(0); b.get(1); b.rejoin(5); b.get(8); b.settle(8) }, 4, 2, 0, 0},
		{"a hole announced late", func(b *fixture) { b.join(0); b.get(1, 4, 5); b.rejoin(5); b.get(6); b.settle(6) }, 2, 0, 0, 0},
		{"a hole, and the client leaves before it is announced", func(b *fixture) {
			b.join(0)
			b.get(1, 4)
			b.subscriptions[0].state = leaving
			b.get(5)
			b.confirmed(firstID + 1)
			b.published = 6
			b.confirmed(firstID)
			b.get(7)
			b.settle(7)
		}, 3, 0, 0, 0},
		{"a hole at the end of the connection", func(b *fixture) { b.join(0); b.get(1); b.detach(); b.join(3); b.settle(3) }, 2, 0, 0, 0},
		{"after the end of the subscription", func(b *fixture) { b.join(0); b.get(1); b.gap("c-0"); b.get(2) }, 0, 0, 0, 1},
		{"before the reply", func(b *fixture) { b.askAll(); b.get(1) }, 0, 0, 0, 1},
	} {
		c.check(t)
	}
}

// A client that is warned while the subscription continues must receive what follows
// the warning.
func TestWarned(t *testing.T) {
	for _, c := range []countersCase{
		{"of a hole that is known", func(b *fixture) { b.join(0); b.get(1, 4); b.warn(4); b.get(5); b.settle(5) }, 2, 0, 0, 0},
		{"of a hole to come", func(b *fixture) { b.join(0); b.get(1); b.warn(3); b.get(4); b.settle(4) }, 2, 0, 0, 0},
		{"of the last ones", func(b *fixture) { b.join(0); b.get(1); b.warn(3); b.settle(3) }, 2, 0, 0, 0},
		{"and misses more", func(b *fixture) { b.join(0); b.get(1); b.warn(3); b.get(6); b.settle(6) }, 2, 2, 0, 0},
		{"and misses more later", func(b *fixture) { b.join(0); b.get(1); b.warn(5); b.get(4, 6); b.settle(6) }, 2, 1, 0, 0},
		{"and gets the old again", func(b *fixture) { b.join(0); b.get(1, 2); b.warn(2); b.get(2, 3); b.settle(3) }, 0, 0, 1, 0},
	} {
		c.check(t, Kind{Protocol: SSE})
	}
}

func (b *fixture) warn(published uint32) {
	b.published = published
	if !b.warned("c-0") {
		panic("the client is subscribed to c-0 and denies it")
	}
}

// If the protocol cannot signal gaps, a missing message is lost if another client
// received it.
func TestCannotSignalGaps(t *testing.T) {
	for _, c := range []struct {
		name                         string
		do                           func(b *fixture)
		announced, unannounced, lost int64
	}{
		{"nobody has it", func(b *fixture) { b.join(0); b.get(1, 4); b.others(1, 4); b.settle(4) }, 0, 2, 0},
		{"others have all of it", func(b *fixture) { b.join(0); b.get(1, 4); b.others(2, 3); b.settle(4) }, 0, 0, 2},
		{"others have some of it", func(b *fixture) { b.join(0); b.get(1, 200); b.others(64); b.settle(200) }, 0, 197, 1},
		{"others get it later", func(b *fixture) {
			b.join(0)
			b.get(1, 3)
			b.detach()
			b.others(2)
			b.join(3)
			b.settle(3)
		}, 0, 0, 1},
		{"before the first", func(b *fixture) { b.join(3); b.others(1, 2, 3, 4); b.get(5); b.settle(5) }, 0, 0, 1},
		{"the last ones never come", func(b *fixture) { b.join(0); b.get(1); b.settle(3) }, 0, 0, 2},
		{"while it is away", func(b *fixture) {
			b.join(0)
			b.get(1)
			b.detach()
			b.others(2)
			b.join(2)
			b.get(3)
			b.settle(3)
		}, 1, 0, 0},
	} {
		for _, protocol := range []Protocol{Raw, Stream} {
			t.Run(c.name+", "+protocol.String(), func(t *testing.T) {
				b := newFixture(Kind{Protocol: protocol})
				c.do(b)
				got := b.pool.Counters()
				if got.Announced != c.announced || got.Unannounced != c.unannounced || got.Lost != c.lost {
					t.Errorf("announced %d, unannounced %d, lost %d; want %d, %d, %d", got.Announced, got.Unannounced, got.Lost, c.announced, c.unannounced, c.lost)
				}
			})
		}
	}
}

// All kinds share each channel, and a client in another's place has its kind.
func TestPlaces(t *testing.T) {
	pool := New(Options{Channel: "c-%d", Channels: 4, Each: 2, Kinds: Kinds()})
	seen := map[Kind]map[string]bool{}
	for place := range uint32(2 * len(Kinds())) {
		m := newClient(pool, 1000-place, place)
		if seen[m.kind] == nil {
			seen[m.kind] = map[string]bool{}
		}
		for i := range m.subscriptions {
			seen[m.kind][m.subscriptions[i].name] = true
		}
	}
	for _, kind := range Kinds() {
		if len(seen[kind]) != 4 {
			t.Errorf("%v: on the channels %v, want all 4", kind, seen[kind])
		}
	}
}

func TestMisrouted(t *testing.T) {
	b := newFixture()
	b.join(0)
	b.message([]byte("c-1"), workload.Message{Sequence: 1, Channel: 1}, time.Now())
	b.message([]byte("c-0"), workload.Message{Sequence: 1, Channel: 1}, time.Now())
	if got := b.pool.Counters().Misrouted; got != 2 {
		t.Errorf("%d misrouted, want 2", got)
	}
}

// Unexpected replies and ends of subscriptions are noticed.
func TestUnasked(t *testing.T) {
	b := newFixture()
	if ok, _ := b.confirmed(firstID); ok {
		t.Error("a unexpected reply was taken")
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

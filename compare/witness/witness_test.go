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

func newBench(kinds ...Kind) *bench {
	b := &bench{}
	crew := New(Options{Channel: "c-%d", Channels: 4, Each: 1, Published: func(uint32) uint32 { return b.published }, Kinds: kinds})
	b.client = newClient(crew, 0, 0)
	crew.members = []*client{b.client}
	return b
}

// join is a subscription when so much had been published.
func (b *bench) join(published uint32) {
	b.published = published
	b.askAll()
	b.confirmed(firstID)
}

// rejoin is the end of the subscription with 2500 and the next one, when so much
// had been published.
func (b *bench) rejoin(published uint32) {
	b.gap("c-0")
	b.published = published
	b.confirmed(firstID)
}

func (b *bench) get(sequences ...uint32) {
	for _, s := range sequences {
		b.message([]byte("c-0"), payload.Message{Sequence: s}, time.Now())
	}
}

// others is what another witness of the crew received.
func (b *bench) others(sequences ...uint32) {
	for _, s := range sequences {
		b.crew.account.came(Kind{}, payload.Message{Sequence: s})
	}
}

// settle is Settle when so much had been published.
func (b *bench) settle(published uint32) {
	b.published = published
	b.lacking(true)
	b.crew.account.judge()
}

// accountCase is what a witness is to make of what happens to it.
type accountCase struct {
	name                               string
	do                                 func(b *bench)
	announced, lost, repeated, strayed int64
}

func (c *accountCase) check(t *testing.T, kinds ...Kind) {
	t.Helper()
	t.Run(c.name, func(t *testing.T) {
		b := newBench(kinds...)
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

func TestAccount(t *testing.T) {
	for _, c := range []accountCase{
		{"all", func(b *bench) { b.join(0); b.get(1, 2, 3); b.settle(3) }, 0, 0, 0, 0},
		{"what was published before the subscription is not due", func(b *bench) { b.join(7); b.get(8); b.settle(8) }, 0, 0, 0, 0},
		{"what was on its way at the reply may come", func(b *bench) { b.join(7); b.get(6, 7, 8); b.settle(8) }, 0, 0, 0, 0},
		{"a hole", func(b *bench) { b.join(0); b.get(1, 2, 5); b.settle(5) }, 0, 2, 0, 0},
		{"a hole before the first", func(b *bench) { b.join(7); b.get(10); b.settle(10) }, 0, 2, 0, 0},
		{"the last ones are missing", func(b *bench) { b.join(0); b.get(1); b.settle(4) }, 0, 3, 0, 0},
		{"all are missing", func(b *bench) { b.join(2); b.settle(4) }, 0, 2, 0, 0},
		{"twice", func(b *bench) { b.join(0); b.get(1, 1, 2); b.settle(2) }, 0, 0, 1, 0},
		{"late", func(b *bench) { b.join(0); b.get(1, 3, 2); b.settle(3) }, 0, 1, 1, 0},
		{"a hole between subscriptions", func(b *bench) { b.join(0); b.get(1); b.rejoin(5); b.get(6); b.settle(6) }, 4, 0, 0, 0},
		{"a hole between subscriptions and one more", func(b *bench) { b.join(0); b.get(1); b.rejoin(5); b.get(8); b.settle(8) }, 4, 2, 0, 0},
		{"a hole announced late", func(b *bench) { b.join(0); b.get(1, 4, 5); b.rejoin(5); b.get(6); b.settle(6) }, 2, 0, 0, 0},
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
		{"a hole at the end of the connection", func(b *bench) { b.join(0); b.get(1); b.detach(); b.join(3); b.settle(3) }, 2, 0, 0, 0},
		{"after the end of the subscription", func(b *bench) { b.join(0); b.get(1); b.gap("c-0"); b.get(2) }, 0, 0, 0, 1},
		{"before the reply", func(b *bench) { b.askAll(); b.get(1) }, 0, 0, 0, 1},
	} {
		c.check(t)
	}
}

// Who is warned while the subscription goes on is owed what comes after the
// warning.
func TestWarned(t *testing.T) {
	for _, c := range []accountCase{
		{"of a hole that is known", func(b *bench) { b.join(0); b.get(1, 4); b.warn(4); b.get(5); b.settle(5) }, 2, 0, 0, 0},
		{"of a hole to come", func(b *bench) { b.join(0); b.get(1); b.warn(3); b.get(4); b.settle(4) }, 2, 0, 0, 0},
		{"of the last ones", func(b *bench) { b.join(0); b.get(1); b.warn(3); b.settle(3) }, 2, 0, 0, 0},
		{"and misses more", func(b *bench) { b.join(0); b.get(1); b.warn(3); b.get(6); b.settle(6) }, 2, 2, 0, 0},
		{"and misses more later", func(b *bench) { b.join(0); b.get(1); b.warn(5); b.get(4, 6); b.settle(6) }, 2, 1, 0, 0},
		{"and gets the old again", func(b *bench) { b.join(0); b.get(1, 2); b.warn(2); b.get(2, 3); b.settle(3) }, 0, 0, 1, 0},
	} {
		c.check(t, Kind{Protocol: SSE})
	}
}

func (b *bench) warn(published uint32) {
	b.published = published
	if !b.warned("c-0") {
		panic("the witness is subscribed to c-0, and says that it is not")
	}
}

// Where there is no word for what is missed, it is lost if others have it.
func TestMute(t *testing.T) {
	for _, c := range []struct {
		name                    string
		do                      func(b *bench)
		announced, untold, lost int64
	}{
		{"nobody has it", func(b *bench) { b.join(0); b.get(1, 4); b.others(1, 4); b.settle(4) }, 0, 2, 0},
		{"others have all of it", func(b *bench) { b.join(0); b.get(1, 4); b.others(2, 3); b.settle(4) }, 0, 0, 2},
		{"others have some of it", func(b *bench) { b.join(0); b.get(1, 200); b.others(64); b.settle(200) }, 0, 197, 1},
		{"others get it later", func(b *bench) {
			b.join(0)
			b.get(1, 3)
			b.detach()
			b.others(2)
			b.join(3)
			b.settle(3)
		}, 0, 0, 1},
		{"before the first", func(b *bench) { b.join(3); b.others(1, 2, 3, 4); b.get(5); b.settle(5) }, 0, 0, 1},
		{"the last ones never come", func(b *bench) { b.join(0); b.get(1); b.settle(3) }, 0, 0, 2},
		{"while it is away", func(b *bench) {
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
				b := newBench(Kind{Protocol: protocol})
				c.do(b)
				got := b.crew.Tally()
				if got.Announced != c.announced || got.Untold != c.untold || got.Lost != c.lost {
					t.Errorf("announced %d, untold %d, lost %d; want %d, %d, %d", got.Announced, got.Untold, got.Lost, c.announced, c.untold, c.lost)
				}
			})
		}
	}
}

// All kinds share each channel, and who takes a place is of its kind.
func TestPlaces(t *testing.T) {
	crew := New(Options{Channel: "c-%d", Channels: 4, Each: 2, Kinds: Kinds()})
	seen := map[Kind]map[string]bool{}
	for place := range uint32(2 * len(Kinds())) {
		m := newClient(crew, 1000-place, place)
		if seen[m.kind] == nil {
			seen[m.kind] = map[string]bool{}
		}
		for i := range m.views {
			seen[m.kind][m.views[i].name] = true
		}
	}
	for _, kind := range Kinds() {
		if len(seen[kind]) != 4 {
			t.Errorf("%v: on the channels %v, want all 4", kind, seen[kind])
		}
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

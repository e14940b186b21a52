package witness

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Tally is the account of a crew.
type Tally struct {
	// Received counts messages, Announced those missed within or after a
	// subscription that then ended.
	Received, Announced int64
	// Untold counts messages missed by witnesses whose protocol has no word for
	// it, and which none of the crew received.
	Untold int64
	// Kinds counts the messages received by kind of witness, Deflated those that came
	// compressed.
	Kinds    map[string]int64
	Deflated int64
	// Lost counts messages missed within a subscription that goes on, Repeated those that came
	// again or late within one, Misrouted those of another channel, Stray those
	// that came without a subscription. All four must be 0.
	Lost, Repeated, Misrouted, Stray int64
	// Broken counts what the server must never do: frames that are none, replies
	// that nobody asked for, errors that are not temporary.
	Broken int64
	// Connected counts handshakes, Gaps subscriptions ended with 2500 or above,
	// Deferred those refused with a temporary error, Renewed tokens that were
	// replaced before they had run out for good, Replaced, Rejoined what the caller
	// asked for.
	Connected, Gaps, Deferred, Renewed, Replaced, Rejoined int64
	// Failed counts attempts to connect that failed, by reason; Ended counts
	// connections that ended, by close code, "eof" or "reset". Those that the
	// crew ended itself are not among them.
	Failed, Ended map[string]int64
	// Faults tells of the first few things that must not happen.
	Faults []string
}

// Clean says whether nothing was seen that must never be.
func (t *Tally) Clean() bool {
	return t.Lost == 0 && t.Repeated == 0 && t.Misrouted == 0 && t.Stray == 0 && t.Broken == 0
}

const maxFaults = 10

// account is what all witnesses of a crew write to.
type account struct {
	received, announced, untold, deflated, lost, repeated, misrouted, stray, broken,
	connected, gaps, deferred, renewed, replaced, rejoined atomic.Int64
	mute bool // there are witnesses whose protocol has no word for gaps

	latency, back, handshake, notice *recorder

	mu     *sync.Mutex // guards what follows
	failed map[string]int64
	ended  map[string]int64
	faults *[]string
	kinds  map[Kind]int64
	// seen has a bit for each message that anybody received, by channel; holes
	// have not been held against it. Both are for the mute only.
	seen  map[uint32][]uint64
	holes []hole
}

func newAccount(kinds []Kind) account {
	return account{
		mute:  slices.ContainsFunc(kinds, func(k Kind) bool { return k.Protocol.mute() }),
		kinds: map[Kind]int64{}, seen: map[uint32][]uint64{},
		latency: newRecorder(), back: newRecorder(), handshake: newRecorder(), notice: newRecorder(),
		mu: new(sync.Mutex), failed: map[string]int64{}, ended: map[string]int64{}, faults: new([]string),
	}
}

func (a *account) tally() Tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	kinds := map[string]int64{}
	for kind, n := range a.kinds {
		kinds[kind.String()] = n
	}
	return Tally{
		Received: a.received.Load(), Announced: a.announced.Load(), Untold: a.untold.Load(),
		Kinds: kinds, Deflated: a.deflated.Load(), Renewed: a.renewed.Load(),
		Lost: a.lost.Load(), Repeated: a.repeated.Load(), Misrouted: a.misrouted.Load(), Stray: a.stray.Load(),
		Broken: a.broken.Load(), Connected: a.connected.Load(), Gaps: a.gaps.Load(), Deferred: a.deferred.Load(),
		Replaced: a.replaced.Load(), Rejoined: a.rejoined.Load(),
		Failed: maps.Clone(a.failed), Ended: maps.Clone(a.ended), Faults: append([]string(nil), *a.faults...),
	}
}

func (a *account) fail(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed[reason]++
}

func (a *account) end(cause string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended[cause]++
}

// fault counts n on counter and keeps what, if it is one of the first.
func (a *account) fault(counter *atomic.Int64, n int64, what string) {
	counter.Add(n)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(*a.faults) < maxFaults {
		*a.faults = append(*a.faults, what)
	}
}

// Histogram is a distribution of times.
type Histogram struct {
	h *hdrhistogram.Histogram
}

// At is the time that share percent (0 to 100) of the values do not exceed.
func (h *Histogram) At(percent float64) time.Duration {
	return time.Duration(h.h.ValueAtPercentile(percent))
}

// Max is the longest time, Count how many there are.
func (h *Histogram) Max() time.Duration { return time.Duration(h.h.Max()) }

// Count is how many times were recorded.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

const (
	lowest  = 1000            // ns
	highest = 600_000_000_000 // ns
)

// recorder records times from many goroutines.
type recorder struct {
	mu sync.Mutex // guards h
	h  *hdrhistogram.Histogram
}

func newRecorder() *recorder { return &recorder{h: hdrhistogram.New(lowest, highest, 3)} }

func (r *recorder) record(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.h.RecordValue(min(max(int64(d), 0), highest)) // it is within the bounds
}

// take returns what was recorded since it was last called.
func (r *recorder) take() *Histogram {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.h
	r.h = hdrhistogram.New(lowest, highest, 3)
	return &Histogram{taken}
}

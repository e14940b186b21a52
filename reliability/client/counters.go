package client

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Counters is what the clients of a pool have counted.
type Counters struct {
	// Received counts messages, and Announced those that were missed before or during
	// a subscription that then ended.
	Received, Announced int64
	// Unannounced counts messages that were missed by clients whose protocol cannot
	// signal gaps, and that no client of the pool received.
	Unannounced int64
	// Kinds counts received messages by kind of client, and Deflated those that were
	// compressed.
	Kinds    map[string]int64
	Deflated int64
	// Lost counts messages that were missed although the subscription continued,
	// Repeated those that came again or late, Misrouted those of another channel, and
	// Unsubscribed those that came without a subscription. All four must be 0.
	Lost, Repeated, Misrouted, Unsubscribed int64
	// Broken counts violations of the protocol: invalid frames, unexpected replies,
	// errors that are not temporary.
	Broken int64
	// Connected counts handshakes, Gaps subscriptions that ended with a code of 2500
	// or above, Refused subscriptions refused with a temporary error, Renewed tokens
	// renewed in time, and Replaced and Rejoined what the caller asked for.
	Connected, Gaps, Refused, Renewed, Replaced, Rejoined int64
	// Failed counts failed attempts to connect by reason. Ended counts connections
	// that the server ended, by close code, "eof" or "reset".
	Failed, Ended map[string]int64
	// Faults describes the first few violations.
	Faults []string
}

// Clean reports whether nothing happened that must not happen.
func (t *Counters) Clean() bool {
	return t.Lost == 0 && t.Repeated == 0 && t.Misrouted == 0 && t.Unsubscribed == 0 && t.Broken == 0
}

const maxFaults = 10

// counts is what all clients of a pool write to.
type counts struct {
	received, announced, unannounced, deflated, lost, repeated, misrouted, unsubscribed, broken,
	connected, gaps, refused, renewed, replaced, rejoined atomic.Int64
	silent bool // some clients speak a protocol that cannot signal gaps

	latency, back, handshake, notice *recorder

	mu     *sync.Mutex // guards what follows
	failed map[string]int64
	ended  map[string]int64
	faults *[]string
	kinds  map[Kind]int64
	// seen has a bit for each message that any client received, by channel. silentGaps
	// have not been compared with it yet. Both are used only if silent is set.
	seen       map[uint32][]uint64
	silentGaps []silentGap
}

func newCounts(kinds []Kind) counts {
	return counts{
		silent: slices.ContainsFunc(kinds, func(k Kind) bool { return k.Protocol.cannotSignalGaps() }),
		kinds:  map[Kind]int64{}, seen: map[uint32][]uint64{},
		latency: newRecorder(), back: newRecorder(), handshake: newRecorder(), notice: newRecorder(),
		mu: new(sync.Mutex), failed: map[string]int64{}, ended: map[string]int64{}, faults: new([]string),
	}
}

func (a *counts) snapshot() Counters {
	a.mu.Lock()
	defer a.mu.Unlock()
	kinds := map[string]int64{}
	for kind, n := range a.kinds {
		kinds[kind.String()] = n
	}
	return Counters{
		Received: a.received.Load(), Announced: a.announced.Load(), Unannounced: a.unannounced.Load(),
		Kinds: kinds, Deflated: a.deflated.Load(), Renewed: a.renewed.Load(),
		Lost: a.lost.Load(), Repeated: a.repeated.Load(), Misrouted: a.misrouted.Load(), Unsubscribed: a.unsubscribed.Load(),
		Broken: a.broken.Load(), Connected: a.connected.Load(), Gaps: a.gaps.Load(), Refused: a.refused.Load(),
		Replaced: a.replaced.Load(), Rejoined: a.rejoined.Load(),
		Failed: maps.Clone(a.failed), Ended: maps.Clone(a.ended), Faults: append([]string(nil), *a.faults...),
	}
}

func (a *counts) fail(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed[reason]++
}

func (a *counts) end(cause string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended[cause]++
}

// fault adds n to counter and keeps the first few descriptions.
func (a *counts) fault(counter *atomic.Int64, n int64, what string) {
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

// At returns the duration that percent (0 to 100) of the values do not exceed.
func (h *Histogram) At(percent float64) time.Duration {
	return time.Duration(h.h.ValueAtPercentile(percent))
}

// Max returns the longest duration.
func (h *Histogram) Max() time.Duration { return time.Duration(h.h.Max()) }

// Count returns the number of values.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

const (
	lowest  = 1000            // ns
	highest = 600_000_000_000 // ns
)

// recorder collects durations from several goroutines.
type recorder struct {
	mu sync.Mutex // guards h
	h  *hdrhistogram.Histogram
}

func newRecorder() *recorder { return &recorder{h: hdrhistogram.New(lowest, highest, 3)} }

func (r *recorder) record(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.h.RecordValue(min(max(int64(d), 0), highest)) // the value is within the bounds
}

// take returns the values recorded since it was last called.
func (r *recorder) take() *Histogram {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.h
	r.h = hdrhistogram.New(lowest, highest, 3)
	return &Histogram{taken}
}

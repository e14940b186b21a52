package workload

import (
	"context"
	"fmt"
	"math"
	"time"
)

// Order is how a plan goes round the channels.
type Order int

const (
	// RoundRobin publishes to one channel after the other.
	RoundRobin Order = iota
	// Random publishes to channels picked at random, evenly.
	Random
)

// Plan says what to publish.
type Plan struct {
	// Rate is messages a second in all; 0 means a burst: Count messages as fast
	// as Redis takes them, all intended for the moment the burst begins.
	Rate float64
	// Count and Duration end the plan, whichever comes first; 0: no such end.
	Count    int
	Duration time.Duration
	// Size of a payload in bytes; at least MinSize.
	Size  int
	Order Order
	// Channels confines the plan to the first so many; 0: all.
	Channels int
}

// Result is what became of a plan.
type Result struct {
	// Sent counts messages that Redis has taken, Bytes their payloads.
	Sent  int
	Bytes int64
	// Receivers sums up how many Redis clients each message went to: one for
	// each server node that is subscribed to its channel.
	Receivers int64
	// Began is when the first message was intended, Took the time until Redis had
	// taken the last.
	Began time.Time
	Took  time.Duration
	// Late is the worst lateness of a write behind its intended time. Latencies
	// count from the intended time, so that they contain it.
	Late time.Duration
}

func (p *Publisher) check(plan *Plan) error {
	switch {
	case plan.Size < MinSize || plan.Size > 64<<20:
		return fmt.Errorf("%w: size %d: needs %d bytes or more", ErrPlan, plan.Size, MinSize)
	case !(plan.Rate >= 0 && plan.Rate <= 1e8):
		return fmt.Errorf("%w: rate %g", ErrPlan, plan.Rate)
	case plan.Count < 0 || plan.Duration < 0 || plan.Channels < 0 || plan.Channels > len(p.sent):
		return fmt.Errorf("%w: count %d, duration %v, channels %d of %d", ErrPlan, plan.Count, plan.Duration, plan.Channels, len(p.sent))
	case plan.Rate == 0 && plan.Count == 0:
		return fmt.Errorf("%w: a burst (rate 0) needs a count", ErrPlan)
	}
	if plan.Channels == 0 {
		plan.Channels = len(p.sent)
	}
	if plan.Count == 0 {
		plan.Count = math.MaxInt
	}
	if plan.Duration > 0 && plan.Rate > 0 {
		plan.Count = min(plan.Count, int(math.Ceil(plan.Duration.Seconds()*plan.Rate)))
	}
	return nil
}

const writeSize = 256 << 10 // bytes to gather before a write

func (p *Publisher) burst(ctx context.Context, plan Plan, began time.Time, result *Result) error {
	for result.Sent < plan.Count && ctx.Err() == nil {
		p.buf = p.buf[:0]
		n := 0
		for ; result.Sent+n < plan.Count && len(p.buf) < writeSize; n++ {
			p.add(plan, began.UnixNano())
		}
		if err := p.flush(n, result); err != nil {
			return err
		}
	}
	return nil
}

func (p *Publisher) paced(ctx context.Context, plan Plan, began time.Time, result *Result) error {
	intended := func(i int) time.Time {
		return began.Add(time.Duration(float64(i) / plan.Rate * 1e9))
	}
	for result.Sent < plan.Count {
		if !sleepUntil(ctx, intended(result.Sent)) {
			return nil
		}
		p.buf = p.buf[:0]
		n, now := 0, time.Now()
		result.Late = max(result.Late, now.Sub(intended(result.Sent)))
		for ; result.Sent+n < plan.Count && len(p.buf) < writeSize; n++ {
			due := intended(result.Sent + n)
			if due.After(now) {
				break
			}
			p.add(plan, due.UnixNano())
		}
		if err := p.flush(n, result); err != nil {
			return err
		}
	}
	return nil
}

// sleepUntil sleeps until t, or is false at the end of ctx, which it notices
// within 50 ms.
func sleepUntil(ctx context.Context, t time.Time) bool {
	for {
		if ctx.Err() != nil {
			return false
		}
		d := time.Until(t)
		if d <= 0 {
			return true
		}
		sleep(min(d, 50*time.Millisecond))
	}
}

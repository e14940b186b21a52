package workload

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Persistent publishes to a Redis that fails: it connects anew, and counts on
// from where it was. What was on its way when Redis failed is published or not.
// Last and Total may be called by several goroutines; plans run one after
// another.
type Persistent struct {
	options Options
	current atomic.Pointer[Publisher]
	running sync.Mutex // held while a plan runs: it orders plans
}

// retryPause is the time between two attempts to reach Redis.
const retryPause = 50 * time.Millisecond

// NewPersistent connects to nothing yet.
func NewPersistent(o Options) *Persistent { return &Persistent{options: o} }

// Last is the last sequence number handed to Redis for a channel.
func (p *Persistent) Last(channel uint32) uint32 {
	if current := p.current.Load(); current != nil {
		return current.sent[int(channel)-current.options.First].Load()
	}
	return 0
}

// Total is how many messages were handed to Redis.
func (p *Persistent) Total() (sum uint64) {
	if current := p.current.Load(); current != nil {
		for i := range current.sent {
			sum += uint64(current.sent[i].Load())
		}
	}
	return sum
}

// Publish carries out a plan, and continues with it after each failure of Redis. The
// end of ctx is no error.
func (p *Persistent) Publish(ctx context.Context, plan Plan) error {
	p.running.Lock()
	defer p.running.Unlock()
	for ctx.Err() == nil {
		on, err := NewPublisher(ctx, p.options)
		if err == nil {
			p.current.Store(on)
			var result Result
			result, err = on.Publish(ctx, plan)
			p.options.After = on.Sent()
			_ = on.Close() // it has answered everything, or is broken
			if err == nil {
				return nil
			}
			if plan.Count > 0 {
				plan.Count = max(plan.Count-result.Sent, 1)
			}
		}
		if !errors.Is(err, ErrRedis) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
		}
	}
	return nil
}

package idiomatic

import (
	"context"
	"sync"

	"golang.org/x/time/rate"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// gap tells those of subscriptions that may have missed publications, at a pace; in
// a session it ends them.
type gap struct {
	limiter *rate.Limiter
	wake    chan struct{} // capacity 1: there is something in lost

	mu sync.Mutex // guards lost
	// lost maps each channel to the epoch before which subscriptions are
	// affected.
	lost map[string]uint64
}

// newGap returns a gap that ends perSecond subscriptions a second; 0: all at
// once.
func newGap(perSecond int) *gap {
	limit := rate.Inf
	if perSecond > 0 {
		limit = rate.Limit(perSecond)
	}
	// What is due within 50 ms may go at once: a sleep for each would take as long as
	// the machine is busy, and make seconds of the announcement.
	return &gap{limiter: rate.NewLimiter(limit, max(1, perSecond/20)), wake: make(chan struct{}, 1), lost: make(map[string]uint64)}
}

// add notes that subscriptions to these channels from before epoch have missed
// something. It never waits and may be called concurrently.
func (g *gap) add(channels []string, epoch uint64) {
	g.mu.Lock()
	for _, channel := range channels {
		g.lost[channel] = max(g.lost[channel], epoch)
	}
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// next takes one channel; false: there is none.
func (g *gap) next() (channel string, epoch uint64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for channel, epoch = range g.lost {
		delete(g.lost, channel)
		return channel, epoch, true
	}
	return "", 0, false
}

// run works until ctx ends. The engine starts it once.
func (g *gap) run(ctx context.Context, h *hub) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		}
		for channel, epoch, ok := g.next(); ok; channel, epoch, ok = g.next() {
			if g.end(ctx, h, channel, epoch) != nil {
				return
			}
		}
	}
}

// end ends the subscriptions to one channel from before epoch. It fails when
// ctx ends.
func (g *gap) end(ctx context.Context, h *hub, channel string, epoch uint64) error {
	var told [wire.Protocols]*message
	for _, c := range h.before(channel, epoch) {
		if told[c.protocol] == nil {
			told[c.protocol] = pushMessage(c.protocol, wire.GapFrame(c.protocol, channel), true)
		}
		if err := g.limiter.Wait(ctx); err != nil {
			return err
		}
		c.lose(channel, epoch, told[c.protocol])
	}
	return nil
}

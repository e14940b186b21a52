package redisbus

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is a pause that doubles from least to most.
type backoff struct {
	least, most time.Duration
	next        time.Duration
}

func (b *backoff) reset() { b.next = 0 }

// take returns the next pause. It is jittered by half, so that many nodes do not
// come back to Redis at the same moment.
func (b *backoff) take() time.Duration {
	pause := max(b.next, b.least)
	b.next = min(2*pause, b.most)
	return pause/2 + rand.N(pause/2+1)
}

// wait pauses. It returns false when ctx ended first.
func (b *backoff) wait(ctx context.Context) bool {
	timer := time.NewTimer(b.take())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

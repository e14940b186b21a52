package redisbus

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	b := backoff{least: 100 * time.Millisecond, most: time.Second}
	for round := range 2 {
		for i, full := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			full *= time.Millisecond
			if got := b.take(); got < full/2 || got > full {
				t.Errorf("round %d, pause %d: %v, want %v to %v", round, i, got, full/2, full)
			}
		}
		b.reset()
	}
}

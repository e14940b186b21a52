package admission

import (
	"context"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

func TestWatchMemory(t *testing.T) {
	d := newController(t, Options{})
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	// Without a limit there is nothing to watch.
	d.WatchMemory(context.Background())

	for _, limit := range []int64{1 << 20, 1 << 40} {
		debug.SetMemoryLimit(limit)
		ctx, cancel := context.WithCancel(context.Background())
		var watching sync.WaitGroup
		watching.Go(func() { d.WatchMemory(ctx) })
		want := map[int64]*Refusal{1 << 20: RefusedMemory}[limit]
		deadline := time.Now().Add(2 * time.Minute)
		for d.Admit("", "") != want {
			if time.Now().After(deadline) {
				t.Fatalf("with a limit of %d bytes Admit says %v, want %v", limit, d.Admit("", ""), want)
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
		watching.Wait()
	}
}

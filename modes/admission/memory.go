package admission

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// memoryShare is the part of GOMEMLIMIT above which nobody is let in, in
	// percent. Above it the garbage collector begins to run without a pause.
	memoryShare = 90
	// memoryInterval is the time between two looks.
	memoryInterval = 100 * time.Millisecond
	// memoryRest is how long the garbage collector may not have run while
	// everybody is refused: what it has not found to be free would keep it so.
	memoryRest = time.Second
)

// WatchMemory has everybody refused while what the process holds, and a garbage
// collection would not free, is close to GOMEMLIMIT. Connections that are open stay. It
// returns when ctx is done, or at once where there is no limit.
func (c *Controller) WatchMemory(ctx context.Context) {
	limit := debug.SetMemoryLimit(-1)
	if limit <= 0 || limit == math.MaxInt64 {
		return
	}
	threshold := uint64(limit) / 100 * memoryShare
	tick := time.NewTicker(memoryInterval)
	defer tick.Stop()
	held := newHeldMemory()
	collected, since := uint64(0), time.Now()
	for {
		bytes, collections := held.read()
		closed := bytes > threshold
		c.crowded.Store(closed)
		if collections != collected {
			collected, since = collections, time.Now()
		} else if closed && time.Since(since) > memoryRest {
			runtime.GC()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// heldMemory reads how much the process holds.
type heldMemory []metrics.Sample

func newHeldMemory() heldMemory {
	return heldMemory{
		{Name: "/gc/cycles/total:gc-cycles"},
		// The sum of what follows.
		{Name: "/gc/heap/live:bytes"}, // what the last collection left
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/os-stacks:bytes"},
		{Name: "/memory/classes/metadata/mcache/inuse:bytes"},
		{Name: "/memory/classes/metadata/mspan/inuse:bytes"},
		{Name: "/memory/classes/metadata/other:bytes"},
		{Name: "/memory/classes/profiling/buckets:bytes"},
		{Name: "/memory/classes/other:bytes"},
	}
}

func (m heldMemory) read() (bytes, collections uint64) {
	metrics.Read(m)
	for i := range m[1:] {
		bytes += m[1+i].Value.Uint64()
	}
	return bytes, m[0].Value.Uint64()
}

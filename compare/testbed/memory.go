package testbed

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/google/pprof/profile"

	"github.com/tandem-ws/tandem/compare/process"
)

// Memory returns the memory of all nodes together.
func (r *Testbed) Memory() (process.Memory, error) {
	var sum process.Memory
	for _, n := range r.nodes {
		m, err := process.ReadMemory(n.pid)
		if err != nil {
			return sum, fmt.Errorf("%w: %w", ErrRun, err)
		}
		sum.RSS += m.RSS
		sum.PSS += m.PSS
		sum.Anonymous += m.Anonymous
	}
	return sum, nil
}

// Runtime holds the metrics of all nodes together, and the longest pause of any. NaN
// means unknown.
type Runtime struct {
	process.Runtime
	Disconnects float64 // connections that the server ended as slow
}

// Runtime reads the metrics of all nodes. ok is false if the server has none that can
// be read.
func (r *Testbed) Runtime() (sum Runtime, ok bool, err error) {
	for _, n := range r.nodes {
		if n.internal == "" {
			return sum, false, nil
		}
		var metrics process.Metrics
		err := get(r.ctx, r.client, n.internal+"/metrics", func(body io.Reader) (err error) {
			metrics, err = process.ParseMetrics(body)
			return err
		})
		if err != nil {
			return sum, false, fmt.Errorf("%w: metrics of the server: %w", ErrRun, err)
		}
		runtime := metrics.Runtime()
		sum.Heap += runtime.Heap
		sum.Stacks += runtime.Stacks
		sum.Goroutines += runtime.Goroutines
		sum.GCCPU += runtime.GCCPU
		sum.GCPause = math.Max(sum.GCPause, runtime.GCPause)
		if metrics["tandem_subscriptions"] == nil {
			sum.Disconnects = math.NaN()
		} else {
			// a label that does not exist yet has counted nothing
			sum.Disconnects += metrics.Labelled("tandem_disconnects_total", "slow")
		}
	}
	return sum, true, nil
}

// Heap returns the heap profile of the first node after a collection, or nil if the
// server does not offer one.
func (r *Testbed) Heap() (*profile.Profile, error) {
	if r.nodes[0].internal == "" {
		return nil, nil
	}
	var p *profile.Profile
	err := get(r.ctx, r.client, r.nodes[0].internal+"/debug/pprof/heap?gc=1", func(body io.Reader) (err error) {
		p, err = profile.Parse(body)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: heap profile of the server: %w", ErrRun, err)
	}
	return p, nil
}

// Kernel is memory that the kernel of the whole host holds, in bytes.
type Kernel struct {
	// Buffers is the memory of TCP's socket buffers.
	Buffers uint64
	// Slab is all slab memory: sockets, files, epoll items and everything else.
	Slab uint64
}

// ReadKernel reads /proc/net/sockstat and /proc/meminfo.
func ReadKernel() (Kernel, error) {
	var k Kernel
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return k, fmt.Errorf("%w: %w", ErrRun, err)
	}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		for i := 0; len(fields) > 0 && string(fields[0]) == "TCP:" && i+1 < len(fields); i++ {
			if string(fields[i]) == "mem" {
				pages, _ := strconv.ParseUint(string(fields[i+1]), 10, 64) // 0 where it is no number
				k.Buffers = pages * uint64(os.Getpagesize())
			}
		}
	}
	text, err = os.ReadFile("/proc/meminfo")
	if err != nil {
		return k, fmt.Errorf("%w: %w", ErrRun, err)
	}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) >= 2 && string(fields[0]) == "Slab:" {
			kb, _ := strconv.ParseUint(string(fields[1]), 10, 64)
			k.Slab = kb << 10
		}
	}
	return k, nil
}

// Await calls f every 20 ms until it returns true, or limit has passed.
func (r *Testbed) Await(limit time.Duration, f func() (bool, error)) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		ok, err := f()
		if ok || err != nil {
			return err
		}
		select {
		case <-deadline.C:
			return fmt.Errorf("%w: not within %v", ErrRun, limit)
		default:
		}
		if err := r.Idle(20 * time.Millisecond); err != nil {
			return err
		}
	}
}

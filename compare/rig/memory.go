package rig

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

// Memory is what the server's processes hold, in bytes, nodes added up.
func (r *Rig) Memory() (process.Memory, error) {
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

// Runtime is what the server's metrics say, nodes added up, the longest pause of
// all; NaN: nothing.
type Runtime struct {
	process.Runtime
	Disconnects float64 // connections that the server ended as slow
}

// Runtime reads the metrics of all nodes; ok is false when the server has none
// that can be read.
func (r *Rig) Runtime() (sum Runtime, ok bool, err error) {
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
			// a label that is not there yet has counted nothing
			sum.Disconnects += metrics.Labelled("tandem_disconnects_total", "slow")
		}
	}
	return sum, true, nil
}

// Heap returns the heap profile of the first node after a collection; nil: the
// server offers none.
func (r *Rig) Heap() (*profile.Profile, error) {
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

// Kernel is memory that the kernel holds for sockets and all else, in bytes, on
// the whole host.
type Kernel struct {
	// Buffers is what TCP's socket buffers take up now.
	Buffers uint64
	// Slab is all slab memory: sockets, files, epoll items and whatever else
	// the host does.
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

// Await polls f every 20 ms until it says true, at most for limit.
func (r *Rig) Await(limit time.Duration, f func() (bool, error)) error {
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

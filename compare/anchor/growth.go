package anchor

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/workload"
)

// growth compares the memory of a connection and the cost of a delivery with
// Sizes.IdleFrom connections and with Sizes.IdleTo, in one process. Memory is the
// slope of the first and of the second half, so that it excludes the process's own.
func growth(ctx context.Context, b *bench, s Sizes) (sample, error) {
	half := (s.IdleFrom + s.IdleTo) / 2
	counts := []int{s.IdleFrom, half, s.IdleTo}
	pss := make([]float64, len(counts))
	p, err := toAll(0, workload.Plan{}).publisher(ctx, b)
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = p.Close() }() // everything has been answered, or the error is known
	var runs []sample
	connected := 0
	for i, count := range counts {
		if err := b.connect(ctx, count-connected, connected, "bench"); err != nil {
			return sample{}, err
		}
		connected = count
		if _, err := b.load.Do(ctx, load.Command{Cmd: load.Mark, Next: p.Sent()[0] + 1}); err != nil {
			return sample{}, err
		}
		if count != half {
			plan := workload.Plan{Rate: s.GrowthDeliveries / float64(count), Duration: s.GrowthTime, Size: s.Payload}
			run, err := toAll(count, plan).measure(ctx, b, p)
			if err != nil {
				return sample{}, err
			}
			runs = append(runs, run)
		}
		if err := b.idleFor(ctx, s.Settle); err != nil {
			return sample{}, err
		}
		memory, err := b.server.Memory()
		if err != nil {
			return sample{}, err
		}
		pss[i] = float64(memory.PSS)
	}
	few, all := runs[0], runs[1]
	return sample{
		cpu:        all.cpu,
		cpuGrowth:  all.cpu / few.cpu,
		firstHalf:  (pss[1] - pss[0]) / float64(half-s.IdleFrom),
		secondHalf: (pss[2] - pss[1]) / float64(s.IdleTo-half),
		flaws:      append(few.flaws, all.flaws...),
	}, nil
}

// apart compares the cost of a message to one connection with Sizes.IdleFrom other
// connections and with Sizes.IdleTo.
func apart(ctx context.Context, b *bench, s Sizes) (sample, error) {
	if err := b.connect(ctx, 1, 0, "apart"); err != nil {
		return sample{}, err
	}
	f := flood{channel: "apart", channels: 1, receivers: 1,
		plan: workload.Plan{Rate: s.ManyRate, Duration: s.GrowthTime, Size: s.Payload}}
	p, err := f.publisher(ctx, b)
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = p.Close() }() // everything has been answered, or the error is known
	var runs []sample
	connected := 1
	for _, count := range []int{s.IdleFrom, s.IdleTo} {
		if err := b.connect(ctx, count-connected, connected, "other"); err != nil {
			return sample{}, err
		}
		connected = count
		run, err := f.measure(ctx, b, p)
		if err != nil {
			return sample{}, err
		}
		runs = append(runs, run)
	}
	few, all := runs[0], runs[1]
	return sample{cpu: all.cpu, cpuGrowth: all.cpu / few.cpu, flaws: append(few.flaws, all.flaws...)}, nil
}

// collector is the cost of the garbage collector: its share of the process's CPU time
// and of one core, in percent, and the longest pause in ns.
type collector struct {
	ofProcess, ofCore, idleOfCore float64
	pause, idlePause              float64
}

// garbage measures the collector with Sizes.IdleTo idle connections, and then while
// all of them receive messages.
func garbage(ctx context.Context, b *bench, s Sizes) (sample, error) {
	if err := b.connect(ctx, s.IdleTo, 0, "bench"); err != nil {
		return sample{}, err
	}
	if _, err := b.load.Do(ctx, load.Command{Cmd: load.Mark, Next: 1}); err != nil {
		return sample{}, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	watch := func(f func() error) (used, wall time.Duration, gc, pause float64, err error) {
		before, err := process.ReadRuntime(ctx, client, b.server.internal)
		if err != nil {
			return 0, 0, 0, 0, err
		}
		cpu, err := b.server.CPU()
		if err != nil {
			return 0, 0, 0, 0, err
		}
		began := time.Now()
		if err := f(); err != nil {
			return 0, 0, 0, 0, err
		}
		wall = time.Since(began)
		now, err := b.server.CPU()
		if err != nil {
			return 0, 0, 0, 0, err
		}
		after, err := process.ReadRuntime(ctx, client, b.server.internal)
		return now - cpu, wall, after.GCCPU - before.GCCPU, after.GCPause, err
	}
	var out sample
	_, wall, gc, pause, err := watch(func() error { return b.idleFor(ctx, s.GarbageTime) })
	if err != nil {
		return sample{}, err
	}
	out.gc.idleOfCore, out.gc.idlePause = 100*gc/wall.Seconds(), pause*1e9
	used, wall, gc, pause, err := watch(func() error {
		run, err := toAll(s.IdleTo, workload.Plan{
			Rate: s.GrowthDeliveries / float64(s.IdleTo), Duration: s.GarbageTime, Size: s.Payload,
		}).run(ctx, b)
		out.cpu, out.flaws = run.cpu, run.flaws
		return err
	})
	if err != nil {
		return sample{}, err
	}
	out.gc.ofCore, out.gc.pause = 100*gc/wall.Seconds(), pause*1e9
	out.gc.ofProcess = 100 * gc / math.Max(used.Seconds(), 1e-9)
	return out, nil
}

package anchor

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
)

// Names of the scenarios, in the order they run in.
const (
	Idle     = "idle"      // memory and connect+subscribe, one channel
	IdleEach = "idle-each" // memory, a channel each
	Low      = "low"       // deliveries at a low rate
	Burst    = "burst"
	Many     = "many"   // a channel each, messages to random ones
	Growth   = "growth" // the same at few and at many connections
	Apart    = "apart"  // messages to one connection, among few and among many others
	Garbage  = "gc"     // what the garbage collector takes
)

// Scenarios lists all of them.
var Scenarios = []string{Idle, IdleEach, Low, Burst, Many, Growth, Apart, Garbage}

// scenario is one way to load a subject.
type scenario struct {
	name string
	// least is what a subject must support to take part.
	least kind
	run   func(ctx context.Context, b *bench, s Sizes) (sample, error)
}

var scenarios = []scenario{
	{Idle, oneChannel, func(ctx context.Context, b *bench, s Sizes) (sample, error) { return idle(ctx, b, s, "bench") }},
	{IdleEach, anyChannel, func(ctx context.Context, b *bench, s Sizes) (sample, error) { return idle(ctx, b, s, "bench-%d") }},
	{Low, oneChannel, low},
	{Burst, oneChannel, burst},
	{Many, oneChannel, many},
	{Growth, oneChannel, growth},
	{Apart, anyChannel, apart},
	{Garbage, withMetrics, garbage},
}

// Sizes of the scenarios.
type Sizes struct {
	// IdleFrom and IdleTo are the connection counts that memory is read at.
	IdleFrom, IdleTo int
	// LowConnections receive LowRate messages a second for LowTime.
	LowConnections int
	LowRate        float64
	LowTime        time.Duration
	// BurstConnections receive BurstMessages as fast as Redis hands them over.
	BurstConnections, BurstMessages int
	// ManyConnections have a channel each; ManyRate messages a second go to
	// random ones for ManyTime.
	ManyConnections int
	ManyRate        float64
	ManyTime        time.Duration
	// GrowthDeliveries is the approximate number of deliveries a second at either
	// size, and GrowthTime the duration.
	GrowthDeliveries float64
	GrowthTime       time.Duration
	// GarbageTime is how long the collector is watched, idle and under load.
	GarbageTime time.Duration
	// Payload is the size of a message in bytes.
	Payload int
	// Settle is how long memory is given to settle before it is read.
	Settle time.Duration
}

// FullSizes are those of the goals. They need 20,000 descriptors a process.
var FullSizes = Sizes{
	IdleFrom: 1000, IdleTo: 18000,
	LowConnections: 10000, LowRate: 3, LowTime: 5 * time.Second,
	BurstConnections: 1000, BurstMessages: 2000,
	ManyConnections: 10000, ManyRate: 2000, ManyTime: 5 * time.Second,
	GrowthDeliveries: 36000, GrowthTime: 4 * time.Second, GarbageTime: 10 * time.Second,
	Payload: 128, Settle: 2 * time.Second,
}

// sample is the result of one run of a scenario.
type sample struct {
	bytes float64 // of memory for a connection, 0 not measured
	cpu   float64 // ns for a connection, delivery or message, 0 not measured
	// cpuGrowth is the ratio of cpu with many connections to that with few; 1 is flat.
	cpuGrowth float64
	// firstHalf and secondHalf are bytes of a connection on the way to many.
	firstHalf, secondHalf float64
	gc                    collector
	// others is how many CPUs other programs used meanwhile.
	others float64
	flaws  []string
}

// flaw adds a reason not to trust the run.
func (s *sample) flaw(format string, a ...any) { s.flaws = append(s.flaws, fmt.Sprintf(format, a...)) }

func (b *bench) connect(ctx context.Context, n, first int, channel string) error {
	a, err := b.load.Do(ctx, load.Command{
		Cmd: load.Connect, N: n, First: first, Target: b.server.target, Protocol: b.protocol, Channel: channel,
	})
	if err == nil && a.FailedTotal() > 0 {
		err = fmt.Errorf("anchor: %s: of %d connections %d failed: %v", b.name, n, a.FailedTotal(), a.Failed)
	}
	return err
}

func (b *bench) idleFor(ctx context.Context, d time.Duration) error {
	_, err := b.load.Do(ctx, load.Command{Cmd: load.Idle, MS: int(d / time.Millisecond)})
	return err
}

func idle(ctx context.Context, b *bench, s Sizes, channel string) (sample, error) {
	if err := b.connect(ctx, s.IdleFrom, 0, channel); err != nil {
		return sample{}, err
	}
	if err := b.idleFor(ctx, s.Settle); err != nil {
		return sample{}, err
	}
	before, err := b.server.Memory()
	if err != nil {
		return sample{}, err
	}
	cpuBefore, err := b.server.CPU()
	if err != nil {
		return sample{}, err
	}
	if err := b.connect(ctx, s.IdleTo-s.IdleFrom, s.IdleFrom, channel); err != nil {
		return sample{}, err
	}
	cpuAfter, err := b.server.CPU()
	if err != nil {
		return sample{}, err
	}
	if err := b.idleFor(ctx, s.Settle); err != nil {
		return sample{}, err
	}
	after, err := b.server.Memory()
	if err != nil {
		return sample{}, err
	}
	a, err := b.load.Do(ctx, load.Command{Cmd: load.Report})
	if err != nil {
		return sample{}, err
	}
	n := float64(s.IdleTo - s.IdleFrom)
	out := sample{
		bytes: (float64(after.PSS) - float64(before.PSS)) / n,
		cpu:   float64(cpuAfter-cpuBefore) / n,
	}
	if a.Subscribed != s.IdleTo {
		out.flaw("%d of %d connections left", a.Subscribed, s.IdleTo)
	}
	return out, nil
}

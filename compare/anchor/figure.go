package anchor

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/publish"
)

// Names of the scenarios, in the order they run in.
const (
	Idle     = "idle"      // memory and connect+subscribe, one channel
	IdleEach = "idle-each" // memory, a channel each
	Low      = "low"       // deliveries at a low rate
	Burst    = "burst"
	Many     = "many" // a channel each, messages to random ones
)

// Scenarios lists all of them.
var Scenarios = []string{Idle, IdleEach, Low, Burst, Many}

// scenario is one way to load a subject.
type scenario struct {
	name string
	// floor says whether the floor can do it; otherwise it is measured for the
	// server alone.
	floor bool
	run   func(ctx context.Context, b *bench, s Sizes) (sample, error)
}

var scenarios = []scenario{
	{Idle, true, func(ctx context.Context, b *bench, s Sizes) (sample, error) { return idle(ctx, b, s, "bench") }},
	{IdleEach, false, func(ctx context.Context, b *bench, s Sizes) (sample, error) { return idle(ctx, b, s, "bench-%d") }},
	{Low, true, low},
	{Burst, true, burst},
	{Many, false, many},
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
	Payload: 128, Settle: 2 * time.Second,
}

// sample is what one run of a scenario gave.
type sample struct {
	bytes float64 // of memory for a connection, 0 not measured
	cpu   float64 // ns for a connection, delivery or message, 0 not measured
	// others is how many CPUs other programs used meanwhile.
	others float64
	flaws  []string
}

// flaw notes what keeps the run from being whole.
func (s *sample) flaw(format string, a ...any) { s.flaws = append(s.flaws, fmt.Sprintf(format, a...)) }

func (b *bench) connect(ctx context.Context, n, first int, channel string) error {
	a, err := b.load.Do(ctx, load.Command{
		Cmd: load.Connect, N: n, First: first, Target: b.target, Protocol: b.protocol, Channel: channel,
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

// flood is a load of messages between two readings of the server's CPU.
type flood struct {
	connections int
	channel     string
	channels    int
	plan        publish.Plan
	receivers   int // connections that each message goes to
}

func (f flood) run(ctx context.Context, b *bench) (perDelivery sample, err error) {
	if err := b.connect(ctx, f.connections, 0, f.channel); err != nil {
		return sample{}, err
	}
	if _, err := b.load.Do(ctx, load.Command{Cmd: load.Mark, Next: 1}); err != nil {
		return sample{}, err
	}
	p, err := publish.New(ctx, publish.Options{URL: b.redis.URL(), Channel: f.channel, Channels: f.channels})
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = p.Close() }() // everything has been answered, or the error is known
	settle := func() (load.Answer, error) {
		return b.load.Do(ctx, load.Command{Cmd: load.Settle, LastEach: p.Sent(), TimeoutMS: 30000})
	}
	warm := publish.Plan{Count: max(2, f.channels/10), Size: f.plan.Size}
	if f.channels > 1 {
		warm.Rate = f.plan.Rate
	}
	if _, err := p.Publish(ctx, warm); err != nil {
		return sample{}, err
	}
	if _, err := settle(); err != nil {
		return sample{}, err
	}
	if err := b.idleFor(ctx, 300*time.Millisecond); err != nil {
		return sample{}, err
	}
	if _, err := b.load.Do(ctx, load.Command{Cmd: load.Report}); err != nil {
		return sample{}, err
	}
	before, err := b.server.CPU()
	if err != nil {
		return sample{}, err
	}
	sent, err := p.Publish(ctx, f.plan)
	if err != nil {
		return sample{}, err
	}
	if _, err := settle(); err != nil {
		return sample{}, err
	}
	after, err := b.server.CPU()
	if err != nil {
		return sample{}, err
	}
	a, err := b.load.Do(ctx, load.Command{Cmd: load.Report})
	if err != nil {
		return sample{}, err
	}
	if ctx.Err() != nil {
		return sample{}, ctx.Err()
	}
	var out sample
	expected := int64(sent.Sent) * int64(f.receivers)
	if a.Interval.Delivered == 0 {
		return sample{}, fmt.Errorf("anchor: %s: none of %d messages arrived", b.name, expected)
	}
	out.cpu = float64(after-before) / float64(a.Interval.Delivered)
	if a.Interval.Delivered != expected || !a.Interval.Clean() {
		out.flaw("%d of %d delivered, %d lost, %d duplicated, %d reordered",
			a.Interval.Delivered, expected, a.Interval.Lost, a.Interval.Duplicated, a.Interval.Reordered)
	}
	if a.ClosedTotal() > 0 {
		out.flaw("connections ended: %v", a.Closed)
	}
	return out, nil
}

func low(ctx context.Context, b *bench, s Sizes) (sample, error) {
	return flood{
		connections: s.LowConnections, channel: "bench", channels: 1, receivers: s.LowConnections,
		plan: publish.Plan{Rate: s.LowRate, Duration: s.LowTime, Size: s.Payload},
	}.run(ctx, b)
}

func burst(ctx context.Context, b *bench, s Sizes) (sample, error) {
	return flood{
		connections: s.BurstConnections, channel: "bench", channels: 1, receivers: s.BurstConnections,
		plan: publish.Plan{Count: s.BurstMessages, Size: s.Payload},
	}.run(ctx, b)
}

func many(ctx context.Context, b *bench, s Sizes) (sample, error) {
	return flood{
		connections: s.ManyConnections, channel: "bench-%d", channels: s.ManyConnections, receivers: 1,
		plan: publish.Plan{Rate: s.ManyRate, Duration: s.ManyTime, Size: s.Payload, Order: publish.Random},
	}.run(ctx, b)
}

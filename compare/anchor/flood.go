package anchor

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/workload"
)

// flood is a load of messages to existing connections, between two readings of the
// server's CPU time.
type flood struct {
	channel   string
	channels  int
	plan      workload.Plan
	receivers int // connections that each message goes to
}

// publisher returns one for the flood's channels. The caller closes it.
func (f flood) publisher(ctx context.Context, b *bench) (*workload.Publisher, error) {
	return workload.NewPublisher(ctx, workload.Options{URL: b.redis.URL(), Channel: f.channel, Channels: f.channels})
}

// run publishes with a publisher of its own, and measures.
func (f flood) run(ctx context.Context, b *bench) (sample, error) {
	if _, err := b.load.Do(ctx, load.Command{Cmd: load.Mark, Next: 1}); err != nil {
		return sample{}, err
	}
	p, err := f.publisher(ctx, b)
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = p.Close() }() // everything has been answered, or the error is known
	return f.measure(ctx, b, p)
}

// measure publishes with p, whose sequence numbers the connections expect.
func (f flood) measure(ctx context.Context, b *bench, p *workload.Publisher) (sample, error) {
	settle := func() (load.Answer, error) {
		return b.load.Do(ctx, load.Command{Cmd: load.Settle, LastEach: p.Sent(), TimeoutMS: 30000})
	}
	warm := workload.Plan{Count: max(2, f.channels/10), Size: f.plan.Size}
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

// toAll is a flood of the shared channel that all connections have.
func toAll(connections int, plan workload.Plan) flood {
	return flood{channel: "bench", channels: 1, receivers: connections, plan: plan}
}

// connectedFlood connects and floods.
func connectedFlood(ctx context.Context, b *bench, connections int, f flood) (sample, error) {
	if err := b.connect(ctx, connections, 0, f.channel); err != nil {
		return sample{}, err
	}
	return f.run(ctx, b)
}

func low(ctx context.Context, b *bench, s Sizes) (sample, error) {
	return connectedFlood(ctx, b, s.LowConnections,
		toAll(s.LowConnections, workload.Plan{Rate: s.LowRate, Duration: s.LowTime, Size: s.Payload}))
}

func burst(ctx context.Context, b *bench, s Sizes) (sample, error) {
	return connectedFlood(ctx, b, s.BurstConnections,
		toAll(s.BurstConnections, workload.Plan{Count: s.BurstMessages, Size: s.Payload}))
}

// many floods channels with one connection each. The floor, which supports a single
// channel, gets as many messages for a single connection: this is the cost of being
// woken for each.
func many(ctx context.Context, b *bench, s Sizes) (sample, error) {
	plan := workload.Plan{Rate: s.ManyRate, Duration: s.ManyTime, Size: s.Payload, Order: workload.Random}
	if b.kind == oneChannel {
		return connectedFlood(ctx, b, 1, toAll(1, plan))
	}
	return connectedFlood(ctx, b, s.ManyConnections,
		flood{channel: "bench-%d", channels: s.ManyConnections, receivers: 1, plan: plan})
}

package scenario

import (
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
	"github.com/tandem-ws/tandem/compare/workload"
)

var burst = Scenario{
	Name: "burst", Title: "Burst",
	Shows: "What happens when a back end publishes a pile of messages at once: how fast the server fans them out, what CPU each delivery takes then, and how late the last one is.",
	// The limit that protects against slow clients must not end clients that are not
	// slow: this measures fan-out.
	Env: []string{"MAX_QUEUED_BYTES=8388608"},
	sizes: map[string]Size{
		"tiny":  {Connections: []int{50}, Messages: 100, Bytes: 128},
		"quick": {Connections: []int{500}, Messages: 1000, Bytes: 128},
		"full":  {Connections: []int{1000}, Messages: 2000, Bytes: 128},
	},
	describe: func(s Size) string {
		return fmt.Sprintf("%s messages of %d bytes at once to %s on one channel", thousands(s.Messages), s.Bytes, connections(s.most()))
	},
	windows: one, extra: 2500 * time.Millisecond,
	run: func(b *bench) error {
		n := b.size.most()
		p, err := b.open(testbed.Connections{N: n, Channel: shared})
		if err != nil {
			return err
		}
		defer func() { _ = p.Close() }()
		// a small one first, so that buffers and stacks have their size
		if _, err := b.send(p, workload.Plan{Count: max(b.size.Messages/20, 1), Size: b.size.Bytes}, settleTime); err != nil {
			return err
		}
		before, _, err := b.Runtime()
		if err != nil {
			return err
		}
		m, sent, err := b.measure(p, workload.Plan{Count: b.size.Messages, Size: b.size.Bytes}, settleTime)
		if err != nil {
			return err
		}
		after, told, err := b.Runtime()
		if err != nil {
			return err
		}
		s := b.sample("", float64(b.size.Messages), m)
		s.Expected = int64(sent.Sent) * int64(n)
		s.Values[result.DeliveryCPU] = microsPer(m, m.Counters.Delivered)
		if err := percentiles(s.Values, m.Latency, latencies); err != nil {
			return err
		}
		// all were meant for the same moment: the latest is how long it took
		s.Values[result.DeliveryRate] = float64(m.Counters.Delivered) / s.Values[result.Max] * 1e3
		b.collect(s, before, after, told)
		b.keep(s)
		return nil
	},
}

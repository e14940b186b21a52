package scenario

import (
	"fmt"

	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
)

var storm = Scenario{
	Name: "storm", Title: "Connect storm",
	Shows: "What it takes when all clients come back at once, after a deploy or a network fault: CPU for each handshake and subscription, and how long clients wait.",
	sizes: map[string]Size{
		"tiny":  {Connections: []int{200}, Bytes: 128},
		"quick": {Connections: []int{5000}, Bytes: 128},
		"full":  {Connections: []int{18000}, Bytes: 128},
	},
	describe: func(s Size) string {
		return connections(s.most()) + " as fast as they come, 256 handshakes under way at a time for each load process, connect and subscribe"
	},
	windows: one,
	run: func(b *bench) error {
		w, err := b.Begin()
		if err != nil {
			return err
		}
		n := b.size.most()
		if _, err := b.Connect(testbed.Connections{N: n, Channel: shared}); err != nil {
			return err
		}
		m, err := w.End()
		if err != nil {
			return err
		}
		s := b.sample("", float64(n), m)
		s.ConnectTime, s.Latency = m.ConnectTime, ""
		s.Values[result.ConnectCPU] = microsPer(m, int64(n))
		s.Values[result.ConnectRate] = float64(n) / m.Seconds
		if err := percentiles(s.Values, m.ConnectTime, connectTimes); err != nil {
			return err
		}
		if s.Counters, err = b.verify(settleTime); err != nil {
			return err
		}
		s.Expected = int64(n)
		b.keep(s)
		return nil
	},
}

var broadcast = Scenario{
	Name: "broadcast", Title: "Broadcast at fixed rates",
	Shows: "What a delivery costs when every message goes to every connection, at rates that leave the server time to breathe: CPU for each delivered message, and latency from the moment the message was meant to be published.",
	sizes: map[string]Size{
		"tiny":  {Connections: []int{100}, Rates: []float64{20}, Bytes: 128, Measure: 4e8, Settle: 1e8},
		"quick": {Connections: []int{3000}, Rates: []float64{3, 9}, Bytes: 128, Measure: 11e8, Settle: 1e8},
		"full":  {Connections: []int{10000}, Rates: []float64{1, 3, 6}, Bytes: 128, Measure: 5e9, Settle: 5e8},
	},
	describe: func(s Size) string {
		return fmt.Sprintf("%s on one channel, messages of %d bytes, windows of %v", connections(s.most()), s.Bytes, s.Measure)
	},
	windows: func(s Size) int { return len(s.Rates) },
	run: func(b *bench) error {
		n := b.size.most()
		p, err := b.open(testbed.Connections{N: n, Channel: shared})
		if err != nil {
			return err
		}
		defer func() { _ = p.Close() }()
		for _, rate := range b.size.Rates {
			before, _, err := b.Runtime()
			if err != nil {
				return err
			}
			m, due, err := b.deliver(p, rate, n, 0)
			if err != nil {
				return err
			}
			after, told, err := b.Runtime()
			if err != nil {
				return err
			}
			s := b.sample(perSecond(rate), rate, m)
			s.Expected = due
			s.Values[result.DeliveryCPU] = microsPer(m, m.Counters.Delivered)
			if err := percentiles(s.Values, m.Latency, latencies); err != nil {
				return err
			}
			b.collect(s, before, after, told)
			b.keep(s)
		}
		return nil
	},
}

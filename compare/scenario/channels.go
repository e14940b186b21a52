package scenario

import (
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
	"github.com/tandem-ws/tandem/compare/workload"
)

var channels = Scenario{
	Name: "channels", Title: "Many channels",
	Shows: "What a message costs that goes to one connection: every connection has a channel of its own, messages go to random ones, so that nothing can be shared and reading Redis counts in full.",
	sizes: map[string]Size{
		"tiny":  {Connections: []int{100}, Rates: []float64{200}, Bytes: 128, Measure: 4e8, Settle: 1e8},
		"quick": {Connections: []int{3000}, Rates: []float64{2000}, Bytes: 128, Measure: 1e9, Settle: 2e8},
		"full":  {Connections: []int{10000}, Rates: []float64{2000, 6000}, Bytes: 128, Measure: 5e9, Settle: 5e8},
	},
	describe: func(s Size) string {
		return fmt.Sprintf("%s, a channel each, messages of %d bytes to random channels, windows of %v", connections(s.most()), s.Bytes, s.Measure)
	},
	windows: func(s Size) int { return len(s.Rates) }, extra: 500 * time.Millisecond,
	run: func(b *bench) error {
		n := b.size.most()
		p, err := b.open(testbed.Connections{N: n, Channel: each})
		if err != nil {
			return err
		}
		defer func() { _ = p.Close() }()
		for _, rate := range b.size.Rates {
			m, due, err := b.deliver(p, rate, 1, workload.Random)
			if err != nil {
				return err
			}
			s := b.sample(perSecond(rate), rate, m)
			s.Expected = due
			s.Values[result.MessageCPU] = microsPer(m, m.Counters.Delivered)
			if err := percentiles(s.Values, m.Latency, latencies); err != nil {
				return err
			}
			b.keep(s)
		}
		return nil
	},
}

var publication = Scenario{
	Name: "publish", Title: "Publish from clients",
	Shows: "What a message costs that comes from a client: read and parsed, published to Redis, acknowledged, received from Redis and delivered to the channel's one subscriber.",
	Env:   []string{"CLIENT_PUBLISH=true"},
	sizes: map[string]Size{
		"tiny":  {Connections: []int{100}, Rates: []float64{200}, Bytes: 128, Measure: 4e8},
		"quick": {Connections: []int{1000}, Rates: []float64{2000}, Bytes: 128, Measure: 1e9, Settle: 2e8},
		"full":  {Connections: []int{5000}, Rates: []float64{2000}, Bytes: 128, Measure: 5e9, Settle: 5e8},
	},
	describe: func(s Size) string {
		return fmt.Sprintf("%s, each publishes into a channel of its own in turn, messages of %d bytes, %s in all, windows of %v",
			connections(s.most()), s.Bytes, perSecond(s.Rates[0]), s.Measure)
	},
	windows: one, extra: 500 * time.Millisecond,
	run: func(b *bench) error {
		if _, err := b.Connect(testbed.Connections{N: b.size.most(), Channel: each}); err != nil {
			return err
		}
		if err := b.Mark(); err != nil {
			return err
		}
		rate := b.size.Rates[0]
		round := func(d time.Duration) (int, error) {
			count := max(int(rate*d.Seconds()), b.Loads())
			answers, err := b.Do(load.Command{Cmd: load.Publish, Rate: rate, Size: b.size.Bytes, Count: count})
			if err != nil {
				return 0, err
			}
			for i := range answers {
				if n := answers[i].Total.Refused; n > 0 {
					return 0, fmt.Errorf("%w: the server refuses publications of clients (%d)", testbed.ErrRun, n)
				}
			}
			_, err = b.Do(load.Command{Cmd: load.Settle, Own: true, TimeoutMS: int(settleTime.Milliseconds())})
			return count, err
		}
		if _, err := round(b.size.Settle); err != nil {
			return err
		}
		w, err := b.Begin()
		if err != nil {
			return err
		}
		count, err := round(b.size.Measure)
		if err != nil {
			return err
		}
		m, err := w.End()
		if err != nil {
			return err
		}
		s := b.sample("", rate, m)
		s.Expected = int64(count)
		if unsent := m.Counters.Unsent; unsent > 0 {
			s.Flaws = append(s.Flaws, fmt.Sprintf("%d of %d not sent, because no connection could", unsent, count))
		}
		s.Values[result.MessageCPU] = microsPer(m, m.Counters.Delivered)
		if err := percentiles(s.Values, m.Latency, latencies); err != nil {
			return err
		}
		b.keep(s)
		return nil
	},
}

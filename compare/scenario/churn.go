package scenario

import (
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
	"github.com/tandem-ws/tandem/compare/workload"
)

// churnBroadcast is how many messages a second are published during the churn.
const churnBroadcast = 2

var churn = Scenario{
	Name: "churn", Title: "Churn",
	Shows: "What it costs when connections come and go all the time, as on mobile networks: CPU for each connection that is closed and replaced, how long the new one waits, and whether anything is left behind.",
	sizes: map[string]Size{
		"tiny":  {Connections: []int{100}, Rates: []float64{50}, Bytes: 128, Measure: 4e8},
		"quick": {Connections: []int{1000}, Rates: []float64{800}, Bytes: 128, Measure: 15e8},
		"full":  {Connections: []int{5000}, Rates: []float64{1000}, Bytes: 128, Measure: 6e9},
	},
	describe: func(s Size) string {
		return fmt.Sprintf("%s, %s of them replaced a second, %d messages a second to all beneath, %v", connections(s.most()), thousands(int(s.Rates[0])), churnBroadcast, s.Measure)
	},
	windows: one, extra: 500 * time.Millisecond,
	run: runChurn,
}

func runChurn(b *bench) error {
	n := b.size.most()
	p, err := b.open(testbed.Connections{N: n, Channel: shared})
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	before, err := b.read(n)
	if err != nil {
		return err
	}
	w, err := b.Begin()
	if err != nil {
		return err
	}
	if _, err := b.Do(load.Command{Cmd: load.Churn, Rate: b.size.Rates[0]}); err != nil {
		return err
	}
	if _, err := b.Publish(p, workload.Plan{Rate: churnBroadcast, Duration: b.size.Measure, Size: b.size.Bytes}); err != nil {
		return err
	}
	// the last message is published before the time is up
	if err := b.Idle(time.Second / churnBroadcast); err != nil {
		return err
	}
	if _, err := b.Do(load.Command{Cmd: load.Churn}); err != nil {
		return err
	}
	if err := b.Await(settleTime, func() (bool, error) { return b.subscribed(n) }); err != nil {
		return fmt.Errorf("connections that were replaced do not come back: %w", err)
	}
	m, err := w.End()
	if err != nil {
		return err
	}
	after, err := b.read(n)
	if err != nil {
		return err
	}
	s := b.sample("", b.size.Rates[0], m)
	s.ConnectTime = m.ConnectTime
	s.Values[result.ReplaceCPU] = microsPer(m, m.Counters.Churned)
	s.Values[result.Growth] = (float64(after.memory.PSS) - float64(before.memory.PSS)) / mega
	if after.told {
		s.Values[result.GoroutinesLeft] = after.runtime.Goroutines - before.runtime.Goroutines
	}
	if err := percentiles(s.Values, m.ConnectTime, connectTimes); err != nil {
		return err
	}
	if err := percentiles(s.Values, m.Latency, map[string]float64{result.P99: 99}); err != nil {
		return err
	}
	b.keep(s)
	return nil
}

// subscribed reports whether n connections are subscribed and no other is being
// opened.
func (b *bench) subscribed(n int) (bool, error) {
	answers, err := b.Do(load.Command{Cmd: load.Idle})
	if err != nil {
		return false, err
	}
	have, way := 0, 0
	for i := range answers {
		have += answers[i].Subscribed
		way += answers[i].Connecting + answers[i].Connected - answers[i].Subscribed
	}
	return have == n && way == 0, nil
}

// frozenShare is the share of the connections that are not read from.
const frozenShare = 0.01

var frozen = Scenario{
	Name: "frozen", Title: "1% frozen clients",
	Shows: "Whether clients that stopped reading (a phone in a tunnel) harm the others: latency and CPU of the other 99%, memory that piles up, and whether the frozen ones are cut off at their bound.",
	// with the default limit of 1 MB it would take minutes
	Env: []string{"MAX_QUEUED_BYTES=65536"},
	sizes: map[string]Size{
		"tiny":  {Connections: []int{100}, Rates: []float64{20}, Bytes: 1024, Measure: 4e8},
		"quick": {Connections: []int{500}, Rates: []float64{40}, Bytes: 2048, Measure: 25e8},
		"full":  {Connections: []int{1000}, Rates: []float64{25}, Bytes: 2048, Measure: 8e9},
	},
	describe: func(s Size) string {
		return fmt.Sprintf("%s, 1 in 100 not read from, %s of %d bytes to all, %v; bound of a connection 64 KB", connections(s.most()), perSecond(s.Rates[0]), s.Bytes, s.Measure)
	},
	windows: one,
	run: func(b *bench) error {
		n := b.size.most()
		// segments and socket buffers as on a network, so that it is the server that
		// must keep what the frozen ones do not take, and not the kernel
		p, err := b.open(testbed.Connections{N: n, Channel: shared, Rcvbuf: 8 << 10, Segment: 1460})
		if err != nil {
			return err
		}
		defer func() { _ = p.Close() }()
		before, err := b.read(n)
		if err != nil {
			return err
		}
		answers, err := b.Do(load.Command{Cmd: load.Freeze, Fraction: frozenShare})
		if err != nil {
			return err
		}
		cold := 0
		for i := range answers {
			cold += answers[i].Frozen
		}
		m, sent, err := b.measure(p, workload.Plan{Rate: b.size.Rates[0], Duration: b.size.Measure, Size: b.size.Bytes}, settleTime)
		if err != nil {
			return err
		}
		after, err := b.read(n)
		if err != nil {
			return err
		}
		s := b.sample("", b.size.Rates[0], m)
		s.Expected = int64(sent.Sent) * int64(n-cold)
		s.Values[result.DeliveryCPU] = microsPer(m, m.Counters.Delivered)
		s.Values[result.Growth] = (float64(after.memory.PSS) - float64(before.memory.PSS)) / mega
		if after.told && cold > 0 {
			s.Values[result.Disconnected] = (after.runtime.Disconnects - before.runtime.Disconnects) / float64(cold) * 100
		}
		if err := percentiles(s.Values, m.Latency, latencies); err != nil {
			return err
		}
		b.keep(s)
		return nil
	},
}

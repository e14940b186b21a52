package scenario

import (
	"fmt"
	"math"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
	"github.com/tandem-ws/tandem/compare/workload"
)

// Names of the channels that the load's connections subscribe to.
const (
	shared = "bench"
	each   = "bench-%d"
)

// settleTime is how long the last messages may take to arrive before they count as
// lost.
const settleTime = 20 * time.Second

// bench is a testbed and the state of one run.
type bench struct {
	*testbed.Testbed
	size     Size
	scenario Scenario
	samples  []result.Sample
}

// sample returns a sample of a window. The caller adds values before keep.
func (b *bench) sample(point string, x float64, m testbed.Measured) *result.Sample {
	return &result.Sample{
		Scenario: b.scenario.Name, Point: point, X: x,
		Start: m.Start, Seconds: m.Seconds, Connections: m.Subscribed,
		Values: map[string]float64{}, Counters: m.Counters,
		Latency: m.Latency, Use: m.Use, Bound: m.Use.Bound(),
	}
}

// keep checks a sample and stores it. Values that are NaN because they could not be
// read are omitted.
func (b *bench) keep(s *result.Sample) {
	for id, v := range s.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			delete(s.Values, id)
		}
	}
	s.Inspect(b.scenario.Lossy)
	b.samples = append(b.samples, *s)
}

// Milliseconds at a percentile of a histogram.
func percentiles(values map[string]float64, h load.Histogram, ids map[string]float64) error {
	d, err := h.Decode()
	if err != nil {
		return err
	}
	if d.TotalCount() == 0 {
		return nil
	}
	for id, p := range ids {
		values[id] = float64(d.ValueAtPercentile(p)) / 1e6
	}
	return nil
}

var (
	latencies    = map[string]float64{result.P50: 50, result.P99: 99, result.P999: 99.9, result.Max: 100}
	connectTimes = map[string]float64{result.ConnectP50: 50, result.ConnectP99: 99}
)

// microsPer returns the server's CPU time for each of n, in microseconds.
func microsPer(m testbed.Measured, n int64) float64 {
	if n <= 0 {
		return math.NaN()
	}
	return float64(m.ServerCPU.Nanoseconds()) / 1e3 / float64(n)
}

// open opens connections and a publisher to their channels, and makes every connection
// count from the first message on. The caller closes the publisher.
func (b *bench) open(c testbed.Connections) (testbed.Publisher, error) {
	if _, err := b.Connect(c); err != nil {
		return nil, err
	}
	return b.publisher(c.Channel, c.N)
}

func (b *bench) publisher(channel string, channels int) (testbed.Publisher, error) {
	p, err := b.Publisher(channel, channels, nil)
	if err != nil {
		return nil, err
	}
	if err := b.Mark(); err != nil {
		_ = p.Close() // the run is over
		return nil, err
	}
	return p, nil
}

// send carries out a plan and waits until every connection has received everything, or
// limit has passed.
func (b *bench) send(p testbed.Publisher, plan workload.Plan, limit time.Duration) (workload.Result, error) {
	sent, err := b.Publish(p, plan)
	if err == nil {
		_, err = b.Settle(p, limit)
	}
	return sent, err
}

// measure is send in a window of its own.
func (b *bench) measure(p testbed.Publisher, plan workload.Plan, limit time.Duration) (testbed.Measured, workload.Result, error) {
	w, err := b.Begin()
	if err != nil {
		return testbed.Measured{}, workload.Result{}, err
	}
	sent, err := b.send(p, plan, limit)
	if err != nil {
		return testbed.Measured{}, sent, err
	}
	m, err := w.End()
	return m, sent, err
}

// verify publishes one message to the shared channel and waits until every connection
// has received it, or limit has passed. Connections that do not receive are not worth
// measuring.
func (b *bench) verify(limit time.Duration) (delivered load.Counters, err error) {
	p, err := b.publisher(shared, 1)
	if err != nil {
		return delivered, err
	}
	defer func() { _ = p.Close() }()
	m, _, err := b.measure(p, workload.Plan{Count: 1, Size: b.size.Bytes}, limit)
	return m.Counters, err
}

// deliver publishes at a rate and measures a window of it after a short warm-up. due
// is how many connections receive each message.
func (b *bench) deliver(p testbed.Publisher, rate float64, due int, order workload.Order) (testbed.Measured, int64, error) {
	warm := workload.Plan{Rate: rate, Duration: max(b.size.Settle, time.Duration(float64(time.Second)/rate)), Size: b.size.Bytes, Order: order}
	if _, err := b.send(p, warm, settleTime); err != nil {
		return testbed.Measured{}, 0, err
	}
	m, sent, err := b.measure(p, workload.Plan{Rate: rate, Duration: b.size.Measure, Size: b.size.Bytes, Order: order}, settleTime)
	return m, int64(sent.Sent) * int64(due), err
}

// collect adds figures about garbage collection to s: its CPU time in the window, and
// the longest pause so far.
func (b *bench) collect(s *result.Sample, before, after testbed.Runtime, ok bool) {
	if !ok {
		return
	}
	s.Values[result.GCShare] = (after.GCCPU - before.GCCPU) / s.Seconds * 100
	s.Values[result.GCPause] = after.GCPause * 1e3
}

func perSecond(rate float64) string {
	return fmt.Sprintf("%s a second", thousands(int(rate)))
}

func connections(n int) string { return thousands(n) + " connections" }

package scenario

import (
	"fmt"
	"math"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/publish"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/rig"
)

// Names of the channels that the load's connections subscribe to.
const (
	shared = "bench"
	each   = "bench-%d"
)

// settleTime is how long the last messages may take to arrive before they count
// as lost.
const settleTime = 20 * time.Second

// bench is a rig with what one run of a scenario needs.
type bench struct {
	*rig.Rig
	size     Size
	scenario Scenario
	samples  []result.Sample
}

// sample makes a sample of a window. The caller adds values before keep.
func (b *bench) sample(point string, x float64, m rig.Measured) *result.Sample {
	return &result.Sample{
		Scenario: b.scenario.Name, Point: point, X: x,
		Start: m.Start, Seconds: m.Seconds, Connections: m.Subscribed,
		Values: map[string]float64{}, Counters: m.Counters,
		Latency: m.Latency, Use: m.Use, Bound: m.Use.Bound(),
	}
}

// keep checks a sample and puts it with the others. Values that are no numbers,
// for there was nothing to read, are left out.
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

// microsPer is CPU of the server in microseconds for each of n.
func microsPer(m rig.Measured, n int64) float64 {
	if n <= 0 {
		return math.NaN()
	}
	return float64(m.ServerCPU.Nanoseconds()) / 1e3 / float64(n)
}

// open opens connections and a publisher to their channels, and makes every
// connection count from the first message on. The caller closes the publisher.
func (b *bench) open(c rig.Connections) (rig.Publisher, error) {
	if _, err := b.Connect(c); err != nil {
		return nil, err
	}
	return b.publisher(c.Channel, c.N)
}

func (b *bench) publisher(channel string, channels int) (rig.Publisher, error) {
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

// send carries out a plan and waits until every connection has it all, at most
// for limit.
func (b *bench) send(p rig.Publisher, plan publish.Plan, limit time.Duration) (publish.Result, error) {
	sent, err := b.Publish(p, plan)
	if err == nil {
		_, err = b.Settle(p, limit)
	}
	return sent, err
}

// measure is send in a window of its own.
func (b *bench) measure(p rig.Publisher, plan publish.Plan, limit time.Duration) (rig.Measured, publish.Result, error) {
	w, err := b.Begin()
	if err != nil {
		return rig.Measured{}, publish.Result{}, err
	}
	sent, err := b.send(p, plan, limit)
	if err != nil {
		return rig.Measured{}, sent, err
	}
	m, err := w.End()
	return m, sent, err
}

// verify publishes one message to the shared channel and waits until every
// connection has it, at most for limit: connections that cannot receive are not
// worth a figure.
func (b *bench) verify(limit time.Duration) (delivered load.Counters, err error) {
	p, err := b.publisher(shared, 1)
	if err != nil {
		return delivered, err
	}
	defer func() { _ = p.Close() }()
	m, _, err := b.measure(p, publish.Plan{Count: 1, Size: b.size.Bytes}, limit)
	return m.Counters, err
}

// deliver publishes at a rate and measures a window of it, after a short time to
// warm up. Due is how many connections a message is for.
func (b *bench) deliver(p rig.Publisher, rate float64, due int, order publish.Order) (rig.Measured, int64, error) {
	warm := publish.Plan{Rate: rate, Duration: max(b.size.Settle, time.Duration(float64(time.Second)/rate)), Size: b.size.Bytes, Order: order}
	if _, err := b.send(p, warm, settleTime); err != nil {
		return rig.Measured{}, 0, err
	}
	m, sent, err := b.measure(p, publish.Plan{Rate: rate, Duration: b.size.Measure, Size: b.size.Bytes, Order: order}, settleTime)
	return m, int64(sent.Sent) * int64(due), err
}

// collect puts figures about garbage collection into s: CPU in the window that
// ended, and the longest stop so far.
func (b *bench) collect(s *result.Sample, before, after rig.Runtime, ok bool) {
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

//go:build linux

package optimized

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	loopBusy = prometheus.NewDesc("tandem_loop_busy_seconds_total",
		"Time that the event loop was not waiting: its rate is the loop's utilisation.", []string{"loop"}, nil)
	loopWaiting = prometheus.NewDesc("tandem_loop_waiting_publications",
		"Publications that the event loop has not taken yet.", []string{"loop"}, nil)
	workersRunning = prometheus.NewDesc("tandem_workers_running", "Tasks that block a worker.", nil, nil)
	workersWaiting = prometheus.NewDesc("tandem_workers_waiting", "Tasks that wait for a worker.", nil, nil)
)

var _ prometheus.Collector = (*Engine)(nil)

// Describe implements prometheus.Collector.
func (e *Engine) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{loopBusy, loopWaiting, workersRunning, workersWaiting} {
		ch <- d
	}
}

// Collect implements prometheus.Collector: what this engine knows beside
// modes.Stats.
func (e *Engine) Collect(ch chan<- prometheus.Metric) {
	for _, l := range e.loops {
		number := strconv.Itoa(l.number)
		ch <- prometheus.MustNewConstMetric(loopBusy, prometheus.CounterValue, time.Duration(l.busy.Load()).Seconds(), number)
		ch <- prometheus.MustNewConstMetric(loopWaiting, prometheus.GaugeValue, float64(l.inbox.waiting()), number)
	}
	running, waiting := e.pool.Load()
	ch <- prometheus.MustNewConstMetric(workersRunning, prometheus.GaugeValue, float64(running))
	ch <- prometheus.MustNewConstMetric(workersWaiting, prometheus.GaugeValue, float64(waiting))
}

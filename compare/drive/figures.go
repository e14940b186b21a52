package drive

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tandem-ws/tandem/compare/load"
)

// latencySpan is the number of turns that latency percentiles cover.
const latencySpan = 10

// quantiles are the exported quantiles of latency by label.
var quantiles = map[string]float64{"0.5": 50, "0.99": 99, "1": 100}

// figures are what the clients measure, by target, for Prometheus.
type figures struct {
	registry    *prometheus.Registry
	connections *prometheus.GaugeVec
	busy        *prometheus.GaugeVec
	latency     *prometheus.GaugeVec
	delivered   *prometheus.CounterVec
	lost        *prometheus.GaugeVec // one that turns up late is taken back
	disordered  *prometheus.CounterVec
	ended       *prometheus.CounterVec
	redis       prometheus.Gauge

	mu   sync.Mutex // guards what follows
	last map[string]seen
}

// seen is what a target's load had counted at its last report, and its latest
// latencies.
type seen struct {
	total  load.Counters
	ended  uint64
	recent []load.Histogram
}

func newFigures(targets []Target) *figures {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tandem_load_" + name, Help: help}, append([]string{"mode"}, labels...))
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tandem_load_" + name, Help: help}, []string{"mode"})
	}
	f := &figures{
		registry:    prometheus.NewRegistry(),
		connections: gauge("connections", "Clients whose subscription is confirmed."),
		busy:        gauge("busy_ratio", "Share of time that the load process was busy; above 0.9 it is what limits the figures."),
		latency:     gauge("latency_seconds", "From the intended time of a message to its arrival, over the last ten seconds.", "quantile"),
		delivered:   counter("delivered_total", "Messages that arrived."),
		lost:        gauge("lost_messages", "Messages that never arrived, by sequence number."),
		disordered:  counter("disordered_total", "Messages that arrived twice, late or at the wrong client."),
		ended:       counter("ended_connections_total", "Connections that the server ended or refused."),
		redis: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tandem_load_redis_up",
			Help: "Whether the publisher is connected to Redis."}),
		last: make(map[string]seen, len(targets)),
	}
	f.registry.MustRegister(f.connections, f.busy, f.latency, f.delivered, f.lost, f.disordered, f.ended, f.redis)
	return f
}

func (f *figures) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(f.registry, promhttp.HandlerOpts{}))
	return mux
}

// take adds a report of a target's load.
func (f *figures) take(name string, a load.Answer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.last[name]
	since := a.Total.Minus(s.total)
	ended := a.ClosedTotal() - a.Closed["local"] + a.FailedTotal()
	f.connections.WithLabelValues(name).Set(float64(a.Subscribed))
	f.busy.WithLabelValues(name).Set(a.Busy)
	f.delivered.WithLabelValues(name).Add(float64(max(0, since.Delivered)))
	f.lost.WithLabelValues(name).Set(float64(a.Total.Lost))
	f.disordered.WithLabelValues(name).Add(float64(max(0, since.Duplicated+since.Reordered+since.Misrouted+since.Early)))
	f.ended.WithLabelValues(name).Add(float64(ended - s.ended))
	s.total, s.ended = a.Total, ended
	if a.Interval != nil {
		s.recent = append(s.recent, a.Interval.Latency)
		s.recent = s.recent[max(0, len(s.recent)-latencySpan):]
	}
	f.last[name] = s
	all, err := load.Merge(s.recent...)
	if err != nil {
		return fmt.Errorf("drive: latency of %s: %w", name, err)
	}
	for label, percent := range quantiles {
		if all.TotalCount() == 0 {
			f.latency.DeleteLabelValues(name, label)
			continue
		}
		f.latency.WithLabelValues(name, label).Set(float64(all.ValueAtPercentile(percent)) / 1e9)
	}
	return nil
}

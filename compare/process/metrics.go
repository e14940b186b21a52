package process

import (
	"fmt"
	"io"
	"math"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics are a server's metrics by name.
type Metrics map[string]*dto.MetricFamily

const maxMetrics = 8 << 20

// ParseMetrics reads metrics in Prometheus's text format.
func ParseMetrics(r io.Reader) (Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(r, maxMetrics))
	if err != nil {
		return nil, fmt.Errorf("process: metrics: %w", err)
	}
	return families, nil
}

// Sum returns the sum of all values of a metric, whatever their labels, or NaN if
// there are none.
func (m Metrics) Sum(name string) float64 { return m.sum(name, "") }

// Count is Sum for counters that do not exist until they have counted something: it
// returns 0 then.
func (m Metrics) Count(name string) float64 { return m.Labelled(name, "") }

// Labelled returns the sum of the values that have a label with this value ("" means
// any), or 0 if there are none.
func (m Metrics) Labelled(name, value string) float64 {
	if sum := m.sum(name, value); !math.IsNaN(sum) {
		return sum
	}
	return 0
}

func (m Metrics) sum(name, label string) float64 {
	sum, found := 0.0, false
	for _, metric := range m[name].GetMetric() {
		if label != "" && !has(metric, label) {
			continue
		}
		switch {
		case metric.Gauge != nil:
			sum += metric.Gauge.GetValue()
		case metric.Counter != nil:
			sum += metric.Counter.GetValue()
		case metric.Untyped != nil:
			sum += metric.Untyped.GetValue()
		default:
			continue
		}
		found = true
	}
	if !found {
		return math.NaN()
	}
	return sum
}

func has(metric *dto.Metric, value string) bool {
	for _, l := range metric.GetLabel() {
		if l.GetValue() == value {
			return true
		}
	}
	return false
}

// Longest returns the highest quantile of a summary, or NaN if there is none.
func (m Metrics) Longest(name string) float64 {
	for _, metric := range m[name].GetMetric() {
		for _, q := range metric.GetSummary().GetQuantile() {
			if q.GetQuantile() == 1 {
				return q.GetValue()
			}
		}
	}
	return math.NaN()
}

// Runtime returns the metrics of the Go runtime.
func (m Metrics) Runtime() Runtime {
	return Runtime{
		Goroutines: m.Sum("go_goroutines"),
		Heap:       m.Sum("go_memstats_heap_inuse_bytes"),
		Stacks:     m.Sum("go_memstats_stack_inuse_bytes"),
		GCCPU:      m.Sum("go_cpu_classes_gc_total_cpu_seconds_total"),
		GCPause:    m.Longest("go_gc_duration_seconds"),
	}
}

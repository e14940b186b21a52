package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// errMetrics says that a server gave no metrics.
var errMetrics = errors.New("live: no metrics")

// runtimeFigures are what a server tells of its Go runtime. A figure that the
// server does not tell is NaN.
type runtimeFigures struct {
	goroutines float64
	heap       float64 // bytes in use
	stacks     float64 // bytes in use
	gcCPU      float64 // seconds since the start
	pause      float64 // seconds, the longest of the recent ones
}

const maxMetrics = 4 << 20

// scrape asks the server on address internal for its metrics.
func scrape(ctx context.Context, client *http.Client, internal string) (runtimeFigures, error) {
	fail := func(err error) (runtimeFigures, error) {
		return runtimeFigures{}, fmt.Errorf("%w: %w", errMetrics, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+internal+"/metrics", nil)
	if err != nil {
		return fail(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end, or given up
	if response.StatusCode != http.StatusOK {
		return fail(errors.New(response.Status))
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(response.Body, maxMetrics))
	if err != nil {
		return fail(err)
	}
	return runtimeFigures{
		goroutines: value(families, "go_goroutines"),
		heap:       value(families, "go_memstats_heap_inuse_bytes"),
		stacks:     value(families, "go_memstats_stack_inuse_bytes"),
		gcCPU:      value(families, "go_cpu_classes_gc_total_cpu_seconds_total"),
		pause:      longest(families["go_gc_duration_seconds"]),
	}, nil
}

// value is that of the family's first metric.
func value(families map[string]*dto.MetricFamily, name string) float64 {
	for _, m := range families[name].GetMetric() {
		switch {
		case m.Gauge != nil:
			return m.Gauge.GetValue()
		case m.Counter != nil:
			return m.Counter.GetValue()
		case m.Untyped != nil:
			return m.Untyped.GetValue()
		}
	}
	return math.NaN()
}

// longest is the highest quantile of a summary.
func longest(f *dto.MetricFamily) float64 {
	for _, m := range f.GetMetric() {
		for _, q := range m.GetSummary().GetQuantile() {
			if q.GetQuantile() == 1 {
				return q.GetValue()
			}
		}
	}
	return math.NaN()
}

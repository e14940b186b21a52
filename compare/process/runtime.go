package process

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

// ErrMetrics says that a server gave no metrics.
var ErrMetrics = errors.New("process: no metrics")

// Runtime is what a server tells of its Go runtime. A figure that the server does
// not tell is NaN.
type Runtime struct {
	Goroutines float64
	Heap       float64 // bytes in use
	Stacks     float64 // bytes in use
	GCCPU      float64 // seconds since the start, as of the last collection
	GCPause    float64 // seconds, the longest of the recent ones
}

const maxMetrics = 4 << 20

// ReadRuntime asks the server on address internal for its metrics.
func ReadRuntime(ctx context.Context, client *http.Client, internal string) (Runtime, error) {
	fail := func(err error) (Runtime, error) {
		return Runtime{}, fmt.Errorf("%w: %w", ErrMetrics, err)
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
	return Runtime{
		Goroutines: value(families, "go_goroutines"),
		Heap:       value(families, "go_memstats_heap_inuse_bytes"),
		Stacks:     value(families, "go_memstats_stack_inuse_bytes"),
		GCCPU:      value(families, "go_cpu_classes_gc_total_cpu_seconds_total"),
		GCPause:    longest(families["go_gc_duration_seconds"]),
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

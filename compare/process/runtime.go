package process

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	metrics, err := ParseMetrics(response.Body)
	if err != nil {
		return fail(err)
	}
	return metrics.Runtime(), nil
}

package process

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// ErrMetrics means that a server's metrics could not be read.
var ErrMetrics = errors.New("process: no metrics")

// Runtime holds metrics of a server's Go runtime. Those that the server does not
// export are NaN.
type Runtime struct {
	Goroutines float64
	Heap       float64 // bytes in use
	Stacks     float64 // bytes in use
	GCCPU      float64 // seconds since the start, as of the last collection
	GCPause    float64 // seconds, the longest of the recent ones
}

// ReadRuntime reads the metrics of the server on address internal.
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

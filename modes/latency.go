package modes

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Instant is a moment on this process's monotonic clock. Taking one costs half
// of what a time.Time does, which counts where it is taken for each publication.
type Instant time.Duration

var processStart = time.Now()

// Now returns the present Instant, which is never the zero one.
func Now() Instant { return Instant(time.Since(processStart)) + 1 }

// Seconds is how long ago i was.
func (i Instant) Seconds() float64 { return time.Duration(Now() - i).Seconds() }

// LatencyHistogram is for observations in seconds. It has native buckets a tenth
// apart, and classic ones for a Prometheus that does not scrape native ones.
func LatencyHistogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: latencyBuckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// latencyBuckets are in seconds, from what an idle node takes to what an
// overloaded one does.
var latencyBuckets = []float64{
	50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5,
}

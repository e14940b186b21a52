package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/reliability/client"
)

// sample is what the server holds at rest.
type sample struct {
	goroutines, descriptors float64
	heap                    float64 // bytes of live objects
	rss                     float64 // bytes
	all                     process.Metrics
}

// errLeft means that the server holds something that it should not.
var errLeft = errors.New("the server is not at rest")

// sample waits until the server holds what belongs to the clients and nothing else,
// and takes a sample.
func (r *run) sample(ctx context.Context) (sample, error) {
	want := map[string]float64{
		"tandem_connections":    float64(r.Clients),
		"tandem_subscriptions":  float64(r.Clients * r.Each),
		"tandem_redis_channels": float64(r.Channels),
		"tandem_queued_bytes":   0,
		"tandem_redis_up":       1,
	}
	for {
		m, err := r.node.Collected(ctx)
		var left error
		for name, value := range want {
			if is := m.Sum(name); is != value {
				left = errors.Join(left, fmt.Errorf("%w: %s is %g, not %g", errLeft, name, is, value))
			}
		}
		if err == nil && left == nil {
			return sample{
				goroutines: m.Sum("go_goroutines"), descriptors: m.Sum("process_open_fds"),
				heap: m.Sum("go_memstats_heap_alloc_bytes"), rss: m.Sum("process_resident_memory_bytes"), all: m,
			}, nil
		}
		select {
		case <-r.node.Done():
			return sample{}, r.node.Died()
		case <-ctx.Done():
			return sample{}, errors.Join(err, left, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// quantity is something that must not grow.
type quantity struct {
	name, unit string
	divisor    float64
	of         func(sample) float64
	// margin, and share of the earlier value, are the growth allowed.
	margin, share float64
}

var quantities = []quantity{
	{"goroutines", "", 1, func(s sample) float64 { return s.goroutines }, 10, 0},
	{"descriptors", "", 1, func(s sample) float64 { return s.descriptors }, 10, 0},
	{"heap", "MB", 1e6, func(s sample) float64 { return s.heap }, 1e6, 0.1},
}

// grown compares samples as the package documentation describes. There must be at
// least three after the warm-up.
func (q *quantity) grown(samples []sample) (early, late float64, grown bool) {
	judged := samples[len(samples)/4:]
	third := max(len(judged)/3, 1)
	early = q.of(judged[0])
	for _, s := range judged[:third] {
		early = max(early, q.of(s))
	}
	late = q.of(judged[len(judged)-1])
	for _, s := range judged[len(judged)-third:] {
		late = min(late, q.of(s))
	}
	return early, late, late > early+q.margin+early*q.share
}

// judge fails on growth, and if something that must be exercised was not.
func (r *run) judge() {
	if len(r.samples) < 3 {
		r.failf("only %d cycles were completed: growth needs three: run for longer", len(r.samples))
		return
	}
	for _, q := range quantities {
		if early, late, grown := q.grown(r.samples); grown {
			r.failf("%s grew: at most %.2f early, at least %.2f late", q.name, early/q.divisor, late/q.divisor)
		}
	}
	counters := r.pool.Counters()
	for _, kind := range client.Kinds() {
		if counters.Kinds[kind.String()] == 0 {
			r.failf("no client received anything over %v", kind)
		}
	}
	if counters.Deflated == 0 {
		r.failf("no message came compressed")
	}
	if counters.Renewed == 0 {
		r.failf("no token was renewed: with -churn %g no client was there for -token-life %v", r.Churn, r.TokenLife)
	}
}

package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/witness"
)

// sample is what the server holds when all is at rest.
type sample struct {
	goroutines, descriptors float64
	heap                    float64 // bytes of live objects
	rss                     float64 // bytes
	all                     process.Metrics
}

// errLeft says that the server holds what it should not at rest.
var errLeft = errors.New("the server is not at rest")

// sample waits until the server holds what belongs to the witnesses, and nothing
// else, and takes a sample.
func (r *run) sample(ctx context.Context) (sample, error) {
	want := map[string]float64{
		"tandem_connections":    float64(r.Witnesses),
		"tandem_subscriptions":  float64(r.Witnesses * r.Each),
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

// quantity is one of what must not grow.
type quantity struct {
	name, unit string
	divisor    float64
	of         func(sample) float64
	// margin and share of the earlier value are what it may grow by.
	margin, share float64
}

var quantities = []quantity{
	{"goroutines", "", 1, func(s sample) float64 { return s.goroutines }, 10, 0},
	{"descriptors", "", 1, func(s sample) float64 { return s.descriptors }, 10, 0},
	{"heap", "MB", 1e6, func(s sample) float64 { return s.heap }, 1e6, 0.1},
}

// grown compares samples as the package documentation says. There must be three
// at least after the warm-up.
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

// judge fails on growth, and on what was to be soaked and was not.
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
	tally := r.crew.Tally()
	for _, kind := range witness.Kinds() {
		if tally.Kinds[kind.String()] == 0 {
			r.failf("no client received anything over %v", kind)
		}
	}
	if tally.Deflated == 0 {
		r.failf("no message came compressed")
	}
	if tally.Renewed == 0 {
		r.failf("no token was renewed: with -churn %g no client was there for -token-life %v", r.Churn, r.TokenLife)
	}
}

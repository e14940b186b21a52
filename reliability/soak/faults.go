package soak

import (
	"context"
	"time"
)

// failure is a way in which Redis fails.
type failure struct {
	name string
	// lasts is its duration in relation to the time within which a dead link is
	// noticed.
	lasts        float64
	inject, heal func(r *run) error
}

// faults are injected in turn.
var faults = []failure{
	{"redis killed, restarted empty", 0.3,
		func(r *run) error { return r.redis.Kill() },
		func(r *run) error { return r.redis.Restart() }},
	{"redis paused until noticed", 1.5,
		func(r *run) error { return r.redis.Pause() },
		func(r *run) error { return r.redis.Resume() }},
	{"link cut", 0,
		func(r *run) error { r.link.Cut(); return nil },
		func(*run) error { return nil }},
	{"link half-open until noticed", 1.5,
		func(r *run) error { r.link.Hold(); return nil },
		func(r *run) error { r.link.Heal(); return nil }},
	{"link slow", 1,
		func(r *run) error { r.link.Slow(100 * time.Millisecond); return nil },
		func(r *run) error { r.link.Heal(); return nil }},
	{"redis paused briefly", 0.2,
		func(r *run) error { return r.redis.Pause() },
		func(r *run) error { return r.redis.Resume() }},
	{"redis refused for long", 2,
		func(r *run) error { return r.redis.Kill() },
		func(r *run) error { return r.redis.Restart() }},
	{"none", 0,
		func(*run) error { return nil },
		func(*run) error { return nil }},
}

// inject waits for a quarter of the cycle and then injects and heals f, even if ctx
// ends meanwhile.
func (r *run) inject(ctx context.Context, m failure) error {
	pause(ctx, r.Cycle/4)
	if err := m.inject(r); err != nil {
		return err
	}
	pause(ctx, time.Duration(m.lasts*float64(r.Notice)))
	return m.heal(r)
}

// pause sleeps for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

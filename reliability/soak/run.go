package soak

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/redisserver"
	"github.com/tandem-ws/tandem/compare/workload"
	"github.com/tandem-ws/tandem/reliability/client"
	"github.com/tandem-ws/tandem/reliability/fault"
)

const (
	channel   = "soak-%d"
	size      = 256 // bytes of a message: enough to be worth compressing
	stopGrace = 15 * time.Second
)

// run is a soak of one mode, with or without TLS. Only its own goroutine uses it
// unless stated otherwise.
type run struct {
	Options
	mode   string
	secure bool

	dir       string // of the certificate; empty if there is none
	redis     *redisserver.Server
	link      *fault.Link
	node      *node.Node
	pool      *client.Pool
	publisher *workload.Persistent

	began    time.Time
	ended    time.Time
	cycles   int
	faults   map[string]int
	samples  []sample
	failures []string
	slowest  time.Duration // to come to rest
}

// name identifies the run.
func (r *run) name() string {
	if r.secure {
		return r.mode + " over TLS"
	}
	return r.mode
}

func (r *run) failf(format string, a ...any) {
	what := fmt.Sprintf(format, a...)
	r.failures = append(r.failures, what)
	fmt.Fprintf(r.Out, "%s: FAILED: %s\n", r.name(), what)
}

func (r *run) run(ctx context.Context) {
	r.began, r.faults = time.Now(), map[string]int{}
	defer func() { r.ended = time.Now() }()
	if err := r.start(ctx); err != nil {
		r.failf("start: %v", err)
	} else {
		for ctx.Err() == nil && (time.Since(r.began) < r.For || r.cycles < len(faults)) && len(r.failures) == 0 {
			if err := r.cycle(ctx); err != nil && ctx.Err() == nil {
				r.failf("cycle %d: %v", r.cycles+1, err)
			}
			for _, what := range r.pool.Counters().Faults {
				r.failf("%s", what)
			}
		}
		r.judge()
	}
	r.stop()
}

func (r *run) start(ctx context.Context) (err error) {
	if r.redis, err = redisserver.Start(redisserver.Options{}); err != nil {
		return err
	}
	if r.link, err = fault.NewLink(r.redis.Addr()); err != nil {
		return err
	}
	if r.dir, err = os.MkdirTemp("", "tandem-soak-"); err != nil {
		return fmt.Errorf("soak: %w", err)
	}
	credentials, err := newCredentials(r.dir, r.secure, r.TokenLife)
	if err != nil {
		return err
	}
	r.node, err = node.StartReady(ctx, node.Options{
		Program: r.Server, Mode: r.mode, Redis: r.link.Addr(), Stderr: r.Stderr,
		Env: append([]string{
			"COMPRESSION=true",
			"HEARTBEAT_INTERVAL=" + (r.Notice / 3).String(), "HEARTBEAT_TIMEOUT=" + (r.Notice * 2 / 3).String(),
			"PING_INTERVAL=10s", "PONG_TIMEOUT=9s", "DRAIN_TIME=1s", "LOG_LEVEL=error",
		}, credentials.env...),
	})
	if err != nil {
		return err
	}
	r.publisher = workload.NewPersistent(workload.Options{URL: r.redis.URL(), Channel: channel, Channels: r.Channels})
	r.pool = client.New(client.Options{
		Targets: []string{r.node.Options.Public}, Channel: channel, Channels: r.Channels, Each: r.Each,
		Kinds: client.Kinds(), TLS: credentials.tls, Token: credentials.token,
		Published: r.publisher.Last, MinDelay: 100 * time.Millisecond, MaxDelay: 5 * time.Second,
		From: net.IPv4(127, 0, 1, 1), Sources: 8,
	})
	if err := r.pool.Start(ctx, r.Clients, 200); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Rest)
	defer cancel()
	return r.pool.AwaitJoined(ctx)
}

// stop ends everything that start has started, and the server as an operator would.
func (r *run) stop() {
	if r.pool != nil {
		r.pool.Close()
	}
	if r.node != nil {
		if err := r.node.Stop(stopGrace); err != nil {
			r.failf("the server ended badly: %v", err)
		}
	}
	if r.dir != "" {
		if err := os.RemoveAll(r.dir); err != nil {
			r.failf("%v", err)
		}
	}
	if r.link != nil {
		if err := r.link.Close(); err != nil {
			r.failf("%v", err)
		}
	}
	if r.redis != nil {
		if err := r.redis.Stop(stopGrace); err != nil {
			r.failf("%v", err)
		}
	}
}

// cycle is one cycle; see the package documentation.
func (r *run) cycle(ctx context.Context) error {
	fault := faults[r.cycles%len(faults)]
	under, cancel := context.WithTimeout(ctx, r.Cycle)
	defer cancel()
	var load sync.WaitGroup
	var published atomic.Pointer[error]
	load.Go(func() {
		if err := r.publisher.Publish(under, workload.Plan{Rate: r.Rate, Size: size, Order: workload.Random}); err != nil {
			published.Store(&err)
		}
	})
	load.Go(func() { r.churn(under) })

	err := r.inject(under, fault)
	if err == nil {
		err = r.recover(under)
	}
	if err == nil {
		<-under.Done()
	}
	cancel()
	load.Wait()
	if bad := published.Load(); bad != nil {
		err = errors.Join(err, *bad)
	}
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	return r.rest(ctx, fault.name)
}

// recover waits until the server reports that it is ready again.
func (r *run) recover(ctx context.Context) error {
	// not until the end of the load: the fault may have been healed just before it
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Rest)
	defer cancel()
	return r.node.AwaitReady(ctx, true)
}

// churn replaces, interrupts and rejoins clients until ctx ends.
func (r *run) churn(ctx context.Context) {
	tick := time.NewTicker(time.Duration(float64(time.Second) / r.Churn))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		how := [...]client.Ending{client.Close, client.Drop, client.Reset}[i/3%3]
		switch i % 3 {
		case 0:
			r.pool.Replace(1, how)
		case 1:
			r.pool.Interrupt(1, how)
		case 2:
			r.pool.Rejoin(1)
		}
	}
}

// rest publishes a burst, waits until everything is at rest, and takes a sample.
func (r *run) rest(ctx context.Context, after string) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, r.Rest)
	defer cancel()
	if err := r.pool.AwaitJoined(ctx); err != nil {
		return fmt.Errorf("after %s: %w", after, err)
	}
	if err := r.publisher.Publish(ctx, workload.Plan{Count: r.Burst, Size: size}); err != nil {
		return err
	}
	if err := r.pool.Settle(ctx); err != nil {
		return fmt.Errorf("after %s: %w", after, err)
	}
	s, err := r.sample(ctx)
	if err != nil {
		return fmt.Errorf("after %s: %w", after, err)
	}
	r.slowest = max(r.slowest, time.Since(began))
	r.cycles++
	r.faults[after]++
	r.samples = append(r.samples, s)
	counters := r.pool.Counters()
	fmt.Fprintf(r.Out, "%s %s cycle %d, %s:\n  received %d, announced as missed %d, lost %d;\n  at rest after %v: goroutines %.0f, descriptors %.0f, heap %.2f MB\n",
		r.name(), time.Now().Format(time.TimeOnly), r.cycles, after, counters.Received, counters.Announced, counters.Lost,
		time.Since(began).Round(time.Millisecond), s.goroutines, s.descriptors, s.heap/1e6)
	return nil
}

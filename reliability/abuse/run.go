package abuse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/redisserver"
	"github.com/tandem-ws/tandem/compare/workload"
	"github.com/tandem-ws/tandem/reliability/attack"
	"github.com/tandem-ws/tandem/reliability/client"
)

const (
	channel   = "abuse-%d"
	busy      = "busy-%d"
	size      = 128 // bytes of a message
	busySize  = 16 << 10
	busyRate  = 40 // messages a second that no client reads
	restLimit = time.Minute
	stopGrace = 20 * time.Second
	// visits is how many new clients connect a second.
	visits = 5
	// visitorCount is how many of them are connected at a time.
	visitorCount = 10
)

// run is the phases of one mode.
type run struct {
	Options
	mode string

	redis     *redisserver.Server
	node      *node.Node
	pool      *client.Pool // the healthy clients
	visitors  *client.Pool // clients that come and go
	publisher *workload.Persistent
	noise     *workload.Persistent // to the channel that hostile clients do not read

	phases   []phase
	failures []string
}

// phase is what was measured during one attack.
type phase struct {
	name              string
	p50, p99, most    time.Duration // latency of the healthy clients
	enter             time.Duration // 99th percentile of the time to connect and subscribe
	received, entered int64
	memory            float64 // maximum of the server's resident bytes
	cpu               time.Duration
	took              time.Duration
	hostile           attack.Report
	flood             bool // the attack uses all the CPU that it gets
}

func (r *run) failf(format string, a ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, a...))
}

func (r *run) run(ctx context.Context) {
	err := r.start(ctx)
	for _, kinds := range phases() {
		if err == nil {
			err = r.phase(ctx, kinds)
		}
	}
	if err != nil {
		r.failf("%v", err)
	} else {
		r.judge()
	}
	r.stop()
}

func (r *run) start(ctx context.Context) (err error) {
	if r.redis, err = redisserver.Start(redisserver.Options{}); err != nil {
		return err
	}
	r.node, err = node.StartReady(ctx, node.Options{
		Program: r.Server, Mode: r.mode, Redis: r.redis.Addr(), Stderr: r.Stderr,
		// These limits are short enough to be reached within a phase: an unfinished
		// message ends its connection after 2 s, or 5 s later if the client does not
		// answer the close frame.
		Env: []string{"HANDSHAKE_TIMEOUT=2s", "MAX_QUEUED_BYTES=65536", "DRAIN_TIME=1s", "LOG_LEVEL=error"},
	})
	if err != nil {
		return err
	}
	r.publisher = workload.NewPersistent(workload.Options{URL: r.redis.URL(), Channel: channel, Channels: r.Channels})
	r.noise = workload.NewPersistent(workload.Options{URL: r.redis.URL(), Channel: busy, Channels: 1})
	pool := func(from byte) *client.Pool {
		return client.New(client.Options{
			Targets: []string{r.node.Options.Public}, Channel: channel, Channels: r.Channels, Each: 1,
			Published: r.publisher.Last, From: net.IPv4(127, 0, from, 1), Sources: 4,
		})
	}
	r.pool, r.visitors = pool(1), pool(2)
	if err := errors.Join(r.pool.Start(ctx, r.Healthy, 500), r.visitors.Start(ctx, visitorCount, 0)); err != nil {
		return err
	}
	return r.joined(ctx)
}

func (r *run) joined(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	return errors.Join(r.pool.AwaitJoined(ctx), r.visitors.AwaitJoined(ctx))
}

func (r *run) stop() {
	for _, pool := range []*client.Pool{r.pool, r.visitors} {
		if pool != nil {
			pool.Close()
		}
	}
	if r.node != nil {
		if err := r.node.Stop(stopGrace); err != nil {
			r.failf("the server ended badly: %v", err)
		}
	}
	if r.redis != nil {
		if err := r.redis.Stop(stopGrace); err != nil {
			r.failf("%v", err)
		}
	}
}

// phase runs one attack and waits until the server is at rest.
func (r *run) phase(ctx context.Context, kinds []string) (err error) {
	p := phase{name: strings.Join(kinds, ", "), flood: slices.ContainsFunc(kinds, attack.Flood)}
	switch {
	case len(kinds) == 0 && len(r.phases) == 0:
		p.name = "calm"
	case len(kinds) == 0:
		p.name = "calm again"
	case len(kinds) > 1:
		p.name = "all together"
	}
	before := r.pool.Counters()
	began := time.Now()
	cpu, err := r.node.CPU()
	if err != nil {
		return err
	}
	var attackers *attack.Process
	if len(kinds) > 0 {
		attackers, err = attack.Start(attack.Options{
			Target: r.node.Options.Public, Kinds: kinds, N: r.attackers(kinds), Busy: fmt.Sprintf(busy, 0),
			From: "127.0.3.1", Sources: 8,
		}, r.niceness(), r.Stderr)
		if err != nil {
			return err
		}
	}
	r.pool.Latency()
	r.visitors.Return()
	if err := r.load(ctx, &p); err != nil {
		return err
	}
	latency, enter := r.pool.Latency(), r.visitors.Return()
	p.p50, p.p99, p.most = latency.At(50), latency.At(99), latency.Max()
	p.enter, p.entered = enter.At(99), enter.Count()
	after, err := r.node.CPU()
	if err != nil {
		return err
	}
	p.cpu, p.took = after-cpu, time.Since(began)
	if attackers != nil {
		if p.hostile, err = attackers.Finish(); err != nil {
			return err
		}
	}
	if err := r.rest(ctx); err != nil {
		return fmt.Errorf("after %s: %w", p.name, err)
	}
	counters := r.pool.Counters()
	p.received = counters.Received - before.Received
	for cause, n := range counters.Ended {
		if n > before.Ended[cause] {
			r.failf("%s: the server ended %d healthy connections: %s", p.name, n-before.Ended[cause], cause)
		}
	}
	if !counters.Clean() {
		r.failf("%s: %s", p.name, strings.Join(counters.Faults, "; "))
	}
	r.phases = append(r.phases, p)
	return nil
}

// niceness returns that of the hostile clients. If times are judged, their own work
// must not affect them.
func (r *run) niceness() int {
	if r.Bounds == nil {
		return 0
	}
	return 19
}

// attackers returns the number of hostile clients of each kind. There are never more
// that do not read than when all kinds attack together: the kernel buffers megabytes
// for each before the server notices.
func (r *run) attackers(kinds []string) int {
	if len(kinds) > 1 || kinds[0] == attack.NeverReading {
		return r.Hostile / len(attack.Kinds())
	}
	return r.Hostile
}

// load publishes, connects visitors and watches the server for one phase.
func (r *run) load(ctx context.Context, p *phase) error {
	ctx, cancel := context.WithTimeout(ctx, r.Phase)
	defer cancel()
	var running sync.WaitGroup
	var published, noise error
	running.Go(func() {
		published = r.publisher.Publish(ctx, workload.Plan{Rate: r.Rate, Size: size, Order: workload.Random})
	})
	running.Go(func() {
		noise = r.noise.Publish(ctx, workload.Plan{Rate: busyRate, Size: busySize})
	})
	running.Go(func() {
		tick := time.NewTicker(time.Second / visits)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				r.visitors.Replace(1, client.Close)
			}
		}
	})
	running.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if m, err := r.node.Memory(); err == nil {
					p.memory = max(p.memory, float64(m.RSS))
				}
			}
		}
	})
	running.Wait()
	return errors.Join(published, noise)
}

// rest waits until the hostile clients are gone and the healthy ones have received
// everything.
func (r *run) rest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	if err := errors.Join(r.pool.Settle(ctx), r.visitors.Settle(ctx)); err != nil {
		return err
	}
	for {
		m, err := r.node.Metrics(ctx)
		if err == nil && m.Sum("tandem_connections") == float64(r.Healthy+visitorCount) && m.Sum("tandem_queued_bytes") == 0 {
			return nil
		}
		select {
		case <-r.node.Done():
			return r.node.Died()
		case <-ctx.Done():
			return fmt.Errorf("abuse: the server has %g connections and %g bytes queued, not %d and 0: %w",
				m.Sum("tandem_connections"), m.Sum("tandem_queued_bytes"), r.Healthy+visitorCount, errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// judge checks every phase against the bounds.
func (r *run) judge() {
	if r.Bounds == nil {
		return
	}
	calm := &r.phases[0]
	for i := range r.phases {
		p := &r.phases[i]
		free := r.Bounds.Free
		if p.flood {
			free = r.Bounds.Flood
		}
		if most := max(time.Duration(r.Bounds.Latency*float64(calm.p99)), free); p.p99 > most {
			r.failf("%s: the 99th percentile of latency was %v, more than %v", p.name, p.p99, most)
		}
		if most := r.Bounds.Memory*calm.memory + r.Bounds.PerHostile*float64(r.Hostile); p.memory > most {
			r.failf("%s: the server held %.0f MB, more than %.0f MB", p.name, p.memory/1e6, most/1e6)
		}
	}
}

package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/variant"
)

// ErrRun means that a run cannot continue; it leaves no figures.
var ErrRun = errors.New("run")

// Options configure a testbed.
type Options struct {
	Variant variant.Variant
	// Server is the path of the server program, for variants that are not external.
	Server string
	// Env is the environment of the scenario, which the variant's overrides.
	Env  []string
	CPUs Placement
	// Connections is the highest number of connections open at a time. It determines
	// how many server nodes and load processes there are.
	Connections int
	// Embedded uses an embedded Redis instead of redis-server. Self is the path of
	// this program, which serves it and is the load generator.
	Embedded bool
	Self     string
	// Stderr receives the output of the processes; nil discards it.
	Stderr io.Writer
}

// descriptorsLeft is how many descriptors of a process are not for connections.
const descriptorsLeft = 1000

// Processes returns how many processes it takes to hold n connections if each may have
// limit descriptors.
func Processes(n int, limit uint64) int {
	room := int(min(limit, 1<<30)) - descriptorsLeft
	if room < 1 {
		room = 1
	}
	return max((n+room-1)/room, 1)
}

// loads returns how many load processes there are: one for each of their CPUs, the
// same number for every node, and enough to hold the connections.
func loads(nodes, least, cpus int) int {
	each := max((cpus+nodes-1)/nodes, (least+nodes-1)/nodes, 1)
	return nodes * each
}

// answerTime is how long a server may take to answer a request for metrics or a
// profile, with a garbage collection.
const answerTime = 30 * time.Second

// Testbed is a server under load. It is used by one goroutine.
type Testbed struct {
	o      Options
	nodes  []*node
	loads  []*load.Process
	redis  *redis
	client *http.Client

	ctx    context.Context // ends if a process ends unexpectedly
	cancel context.CancelCauseFunc

	watchers sync.WaitGroup

	late   time.Duration // of the publisher, at worst, since the window began
	joined int           // connections asked for so far
}

// Start starts Redis, the server's nodes and the load processes, and waits until all
// are ready. The caller closes the testbed.
func Start(ctx context.Context, o Options) (r *Testbed, err error) {
	r = &Testbed{o: o, client: &http.Client{Timeout: answerTime, Transport: &http.Transport{MaxIdleConnsPerHost: 2}}}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			err = r.why(err)
			r.Close()
			r = nil
		}
	}()
	external := o.Variant.External
	if external == nil {
		if r.redis, err = startRedis(o); err != nil {
			return r, err
		}
		r.redis.unwatch = r.watch(r.redis.Process)
	}
	limit, err := fileLimit()
	if err != nil {
		return r, err
	}
	count := Processes(o.Connections, limit)
	if external != nil {
		n, err := externalNode(external)
		if err != nil {
			return r, err
		}
		r.nodes = append(r.nodes, n)
	}
	for i := 0; external == nil && i < count; i++ {
		n, err := startNode(r.ctx, o, r.redis.Addr())
		if err != nil {
			return r, err
		}
		r.nodes = append(r.nodes, n)
		r.watch(n.process)
	}
	for range loads(len(r.nodes), count, len(o.CPUs.Load)) {
		p, err := load.Start(o.Stderr, o.CPUs.Load...)
		if err != nil {
			return r, err
		}
		r.loads = append(r.loads, p)
		r.watch(p.Process)
	}
	return r, nil
}

// watch ends the testbed's context if p ends before the returned function is called or
// the testbed is closed.
func (r *Testbed) watch(p *process.Process) (unwatch func()) {
	ctx, unwatch := context.WithCancel(r.ctx)
	cancel := r.cancel
	r.watchers.Go(func() {
		select {
		case <-ctx.Done():
			return
		case <-p.Done():
		}
		if ctx.Err() == nil {
			cancel(p.Died())
		}
	})
	return unwatch
}

// Context returns a context that ends with that of Start, or if a process of the
// testbed ends unexpectedly, which is then its cause. Runs wait under it.
func (r *Testbed) Context() context.Context { return r.ctx }

// why returns the reason behind err: a process that died rather than what failed
// because of it.
func (r *Testbed) why(err error) error {
	if err == nil {
		return nil
	}
	// a broken connection is noticed before the end of its process
	deadline := time.NewTimer(200 * time.Millisecond)
	defer deadline.Stop()
	select {
	case <-r.ctx.Done():
		if cause := context.Cause(r.ctx); errors.Is(cause, process.ErrDied) {
			return fmt.Errorf("%w: %w", ErrRun, cause)
		}
	case <-deadline.C:
	}
	return err
}

// Fail returns the error to report instead of err: the process that died, if one did.
func (r *Testbed) Fail(err error) error { return r.why(err) }

// Nodes returns the number of server processes.
func (r *Testbed) Nodes() int { return len(r.nodes) }

// Loads returns the number of load processes.
func (r *Testbed) Loads() int { return len(r.loads) }

// External reports whether the server was already running.
func (r *Testbed) External() bool { return r.o.Variant.External != nil }

// resetTime is how long the load may take to end its connections.
const resetTime = 2 * time.Second

// Close ends all processes and waits for them. It ignores how they end: everything has
// been measured.
func (r *Testbed) Close() {
	if r.ctx.Err() == nil {
		// by a reset, because sockets in TIME_WAIT would count as kernel memory of the
		// next run
		ctx, cancel := context.WithTimeout(r.ctx, resetTime)
		_, _ = r.each(ctx, func(int) load.Command { return load.Command{Cmd: load.Disconnect, How: load.Reset} })
		cancel()
	}
	r.cancel(nil)
	r.watchers.Wait()
	for _, p := range r.loads {
		_ = p.Process.Stop(0)
	}
	for _, n := range r.nodes {
		if n.process != nil {
			_ = n.process.Stop(0)
		}
	}
	if r.redis != nil {
		_ = r.redis.Stop(0)
	}
	r.client.CloseIdleConnections()
}

// Placement holds the CPUs of each process; none means any.
type Placement struct {
	Server, Load, Redis []int
}

// Place distributes the CPUs. A single CPU is shared by all. Of two or three, the
// server gets the first and the others share the rest. Of four or more, the server
// gets half, Redis the last, and load and publisher those in between.
func Place(cpus []int) (Placement, result.CPUs) {
	n := len(cpus)
	var p Placement
	var says string
	switch {
	case n < 2:
		says = "server, load, Redis and publisher share one CPU and disturb each other: use ratios only"
	case n < 4:
		p = Placement{Server: cpus[:1], Load: cpus[1:], Redis: cpus[1:]}
		says = fmt.Sprintf("server on CPU %v; load, Redis and publisher on %v", p.Server, p.Load)
	default:
		p = Placement{Server: cpus[:n/2], Load: cpus[n/2 : n-1], Redis: cpus[n-1:]}
		says = fmt.Sprintf("server on CPUs %v; load and publisher on %v; Redis on %v", p.Server, p.Load, p.Redis)
	}
	return p, result.CPUs{Server: p.Server, Load: p.Load, Redis: p.Redis, Says: says}
}

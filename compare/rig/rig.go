package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/tandem-ws/tandem/compare/arm"
	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/result"
)

// ErrRun says that a run cannot go on; the text says why. It leaves no figures.
var ErrRun = errors.New("run")

// Options say what a rig is made of.
type Options struct {
	Arm arm.Arm
	// Server is the path of the server program, for arms that are not external.
	Server string
	// Env is the scenario's, on top of the arm's.
	Env  []string
	CPUs Placement
	// Connections is the most that will be open at one time: it decides how many
	// server nodes and load processes there are.
	Connections int
	// Embedded has the embedded Redis used in place of redis-server; Self is the
	// path of this program, which serves it and is the load generator.
	Embedded bool
	Self     string
	// Stderr takes what the processes say; nil drops it.
	Stderr io.Writer
}

// descriptorsLeft are those of a process's limit that connections cannot have.
const descriptorsLeft = 1000

// Processes is how many processes it takes to hold n connections when each may
// have limit descriptors.
func Processes(n int, limit uint64) int {
	room := int(min(limit, 1<<30)) - descriptorsLeft
	if room < 1 {
		room = 1
	}
	return max((n+room-1)/room, 1)
}

// loads is how many load processes there are: one for each of the CPUs that they
// have, as many for every node, and enough to hold the connections.
func loads(nodes, least, cpus int) int {
	each := max((cpus+nodes-1)/nodes, (least+nodes-1)/nodes, 1)
	return nodes * each
}

// answerTime is how long a server may take to answer about itself, a collection
// of its garbage included.
const answerTime = 30 * time.Second

// Rig is a server under load. It is used by one goroutine.
type Rig struct {
	o      Options
	nodes  []*node
	loads  []*load.Process
	redis  *redis
	client *http.Client

	ctx    context.Context // ends when a process ends that should not
	cancel context.CancelCauseFunc

	watchers sync.WaitGroup

	late   time.Duration // of the publisher, at worst, since the window began
	joined int           // connections asked for so far
}

// Start starts Redis, the server's nodes and the load processes, and returns when
// all are ready. The caller closes the rig.
func Start(ctx context.Context, o Options) (r *Rig, err error) {
	r = &Rig{o: o, client: &http.Client{Timeout: answerTime, Transport: &http.Transport{MaxIdleConnsPerHost: 2}}}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			err = r.why(err)
			r.Close()
			r = nil
		}
	}()
	external := o.Arm.External
	if external == nil {
		if r.redis, err = startRedis(r.ctx, o); err != nil {
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
		n, err := startNode(r.ctx, r.client, o, r.redis.url(), process.FreePort)
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

// watch ends the rig's context when p ends before the returned function is called
// or the rig closed.
func (r *Rig) watch(p *process.Process) (unwatch func()) {
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

// Context ends when ctx of Start does, or when a process of the rig ends that
// should not; its cause says which. All of a run's waiting is done under it.
func (r *Rig) Context() context.Context { return r.ctx }

// why is the reason behind err: a process that died, rather than what failed
// because of it.
func (r *Rig) why(err error) error {
	if err == nil {
		return nil
	}
	// a broken connection is noticed before the end of the process at its other end
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

// Fail is the error to report in place of err, which a step of the run gave: the
// process that died, if one did.
func (r *Rig) Fail(err error) error { return r.why(err) }

// Nodes is how many server processes there are, Loads how many load processes.
func (r *Rig) Nodes() int { return len(r.nodes) }

// Loads is how many load processes there are.
func (r *Rig) Loads() int { return len(r.loads) }

// External says that the server was running before.
func (r *Rig) External() bool { return r.o.Arm.External != nil }

// resetTime is how long the load may take to end its connections.
const resetTime = 2 * time.Second

// Close ends all processes and waits for them. How they end does not matter any
// more: whatever was measured has been.
func (r *Rig) Close() {
	if r.ctx.Err() == nil {
		// by a reset, so that no socket in TIME_WAIT is left to the next run, where
		// it would count as the kernel's memory
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

// Placement says which CPUs each process runs on; empty: any.
type Placement struct {
	Server, Load, Redis []int
}

// Place shares out the CPUs: one CPU is shared by all; of two or three the server
// has the first and the rest have the others; from four on the server has half of
// them, Redis the last, load and publisher those between.
func Place(cpus []int) (Placement, result.CPUs) {
	n := len(cpus)
	var p Placement
	var says string
	switch {
	case n < 2:
		says = "server, load, Redis and publisher share one CPU and disturb each other: take ratios only"
	case n < 4:
		p = Placement{Server: cpus[:1], Load: cpus[1:], Redis: cpus[1:]}
		says = fmt.Sprintf("server on CPU %v; load, Redis and publisher on %v", p.Server, p.Load)
	default:
		p = Placement{Server: cpus[:n/2], Load: cpus[n/2 : n-1], Redis: cpus[n-1:]}
		says = fmt.Sprintf("server on CPUs %v; load and publisher on %v; Redis on %v", p.Server, p.Load, p.Redis)
	}
	return p, result.CPUs{Server: p.Server, Load: p.Load, Redis: p.Redis, Says: says}
}

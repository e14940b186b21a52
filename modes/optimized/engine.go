//go:build linux

package optimized

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/optimized/workers"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// queuePerWorker is how many tasks may wait for each worker before the pool
// refuses more.
const queuePerWorker = 64

// Engine is the engine of event loops. It implements modes.Engine.
type Engine struct {
	modes.Config
	address   net.Addr
	loops     []*loop
	directory directory
	pool      *workers.Pool
	shakes    *shakes // nil where TLS is not spoken
	ids       *ids
	pings     [wire.Protocols]wire.Frame
	accepted  [wire.Protocols]prometheus.Counter

	http  *http.Server
	plain *plainListener
	conns sync.WaitGroup // those that net/http has
	// duplicating is held while a connection has a second descriptor.
	duplicating sync.Mutex
	draining    atomic.Bool
	stop        context.CancelCauseFunc // ends the loops
	life        context.Context
}

var _ modes.Engine = (*Engine)(nil)

// New binds cfg.Addr and returns the engine, which does nothing before Serve.
func New(cfg modes.Config, o Options) (*Engine, error) {
	o = o.withDefaults()
	e := &Engine{
		Config: cfg,
		pool:   workers.New(o.Workers, o.Workers*queuePerWorker, o.ScheduleTimeout),
		ids:    newIDs(),
	}
	e.directory.channels = make(map[string]*channel)
	if cfg.TLS != nil {
		e.shakes = newShakes(o.Loops)
	}
	for p := range wire.Protocols {
		e.pings[p] = wire.PingFrame(p)
		e.accepted[p] = cfg.Stats.Accepted.WithLabelValues(p.String())
	}
	e.life, e.stop = context.WithCancelCause(context.Background())
	listeners, address, err := listen(cfg.Addr, o.Loops)
	if err != nil {
		return nil, err
	}
	e.address = address
	e.plain = newPlainListener(address)
	e.http = handshake.NewServer(&e.Config, e.plainHandler(), &e.conns)
	for number, listener := range listeners {
		l, err := newLoop(e, number, listener)
		if err != nil {
			closeAll(listeners[number:])
			return nil, errors.Join(err, e.release())
		}
		e.loops = append(e.loops, l)
	}
	return e, nil
}

// release closes what New opened, when Serve is not to come.
func (e *Engine) release() error {
	var err error
	for _, l := range e.loops {
		err = errors.Join(err, l.release())
	}
	return err
}

// Addr is the address that clients connect to.
func (e *Engine) Addr() net.Addr { return e.address }

// Serve runs the loops until Drain has ended or ctx is done.
func (e *Engine) Serve(ctx context.Context) error {
	stopped := context.AfterFunc(ctx, func() { e.stop(nil) })
	defer stopped()
	var loops, plain sync.WaitGroup
	plain.Add(1)
	go func() {
		defer plain.Done()
		// It returns when the listener is closed, below.
		_ = e.http.Serve(e.plain)
	}()
	failures := make([]error, len(e.loops))
	for i, l := range e.loops {
		loops.Add(1)
		go func() {
			defer loops.Done()
			if failures[i] = l.run(e.life.Done()); failures[i] != nil {
				// One loop's connections cannot be served by the others.
				e.stop(failures[i])
			}
		}()
	}
	loops.Wait()
	e.stop(nil)
	if e.shakes != nil {
		e.shakes.running.Wait()
	}
	e.pool.Close()
	err := e.http.Close()
	plain.Wait()
	e.conns.Wait()
	for _, l := range e.loops {
		err = errors.Join(err, l.release())
	}
	if err = errors.Join(append(failures, err)...); err != nil {
		return fmt.Errorf("optimized: serve: %w", err)
	}
	return nil
}

// Deliver hands one publication to the loops that have subscribers. It encodes
// the frame of each form that somebody wants, once.
func (e *Engine) Deliver(p modes.Publication) {
	name, data := p.Channel, p.Data
	e.Stats.Publications.Add(1)
	e.Stats.PublicationBytes.Add(uint64(len(data)))
	c := e.directory.deliverable(name)
	if c == nil {
		return
	}
	var wants [wire.Forms]bool
	for i := range c.audiences {
		if a := c.audiences[i].Load(); a != nil {
			for form := range wants {
				wants[form] = wants[form] || a.wants[form].Load() > 0
			}
		}
	}
	var frames frames
	repaired := false
	for p := range wire.Pushed {
		plain, deflated := p.Form(false), p.Form(true)
		wanted, wantedDeflated := wants[plain], !p.OverHTTP() && wants[deflated]
		if !wanted && !wantedDeflated {
			continue
		}
		frame, broken := wire.PushFrame(p, c.name, data)
		repaired = repaired || broken
		if wanted {
			frames[plain] = frame
		}
		if wantedDeflated {
			frames[deflated] = e.Stats.Deflate(frame)
		}
	}
	if repaired {
		e.Stats.Repaired.Add(1)
	}
	for i := range c.audiences {
		if a := c.audiences[i].Load(); a != nil {
			e.loops[i].inbox.publish(a, frames)
		}
	}
}

// Flush wakes the loops for what Deliver has handed to them.
func (e *Engine) Flush() {
	for _, l := range e.loops {
		l.inbox.flush()
	}
}

// Lost ends the subscriptions to channels, paced, so that their clients
// subscribe again.
func (e *Engine) Lost(channels []string) {
	for _, name := range channels {
		c := e.directory.find(name)
		if c == nil {
			continue
		}
		for i := range c.audiences {
			if a := c.audiences[i].Load(); a != nil {
				l := e.loops[i]
				l.inbox.post(func() { l.gap(a) })
			}
		}
	}
}

// Drain closes the connections with code 3001, each loop its own, and returns
// when they are gone. After that Serve returns.
func (e *Engine) Drain(ctx context.Context, spread time.Duration) error {
	e.draining.Store(true)
	var gone sync.WaitGroup
	for _, l := range e.loops {
		gone.Add(1)
		if !l.inbox.post(func() { l.drain(spread, gone.Done) }) {
			gone.Done()
		}
	}
	done := make(chan struct{})
	go func() {
		gone.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
		err = e.http.Shutdown(ctx)
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.stop(nil)
	<-done
	if err != nil {
		return fmt.Errorf("optimized: drain: %w", err)
	}
	return nil
}

// Disconnect closes the connection with this client id. False: there is none.
func (e *Engine) Disconnect(client string, d wire.Disconnect) bool {
	number, h, ok := e.ids.open(client)
	if !ok || number >= len(e.loops) {
		return false
	}
	l := e.loops[number]
	found := make(chan bool, 1)
	if !l.inbox.post(func() { found <- l.disconnectClient(h, d) }) {
		return false
	}
	select {
	case ok = <-found:
		return ok
	case <-l.stopped:
		return false
	}
}

// Options are the settings of this engine alone.
type Options struct {
	// Loops is how many event loops run; 0: one for each CPU that Go uses.
	Loops int
	// Workers is the most goroutines that may block for the loops at a time.
	Workers int
	// ScheduleTimeout is how long a task may wait for a worker before the
	// loops stop accepting for a while.
	ScheduleTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Loops <= 0 {
		o.Loops = runtime.GOMAXPROCS(0)
	}
	if o.Workers <= 0 {
		o.Workers = 128
	}
	if o.ScheduleTimeout <= 0 {
		o.ScheduleTimeout = time.Second
	}
	return o
}

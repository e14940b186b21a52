// Package soak runs servers for as long as one likes under everything at once:
// clients of every protocol, with compression and without, that come and go, whose
// subscriptions do, and whose tokens run out; fan-out, bursts, and a Redis that fails in
// every way that package fault knows. Each mode runs twice, without TLS and
// with it. It fails on a message
// lost that was not announced, on one that came twice or late, on anything left
// behind by what has ended, and on growth of goroutines, descriptors or heap.
//
// # How it goes
//
// A run is a row of cycles. In each, messages are published all the time, witnesses
// (package witness) are replaced, interrupted, and made to subscribe anew, one
// fault happens to Redis and is healed, and a burst is published. Then publishing
// and churn cease, and everything has to come to rest: every witness subscribed,
// every message received or announced as missed (or missed by everybody, for those
// protocols that have no word for it), as many connections,
// subscriptions and channels in the server as there are witnesses. In that state, the
// same at the end of each cycle, garbage is collected and a sample is taken.
//
// A witness of a private channel needs a token for it, all need one to connect, and
// none is good for longer than TokenLife: sessions of the Centrifuge protocol renew
// theirs, the others end with them and come back.
//
// # When it has grown
//
// All samples are taken in the same state, so that what a cycle leaves behind
// adds up. The first quarter of the cycles warms up and is not judged: pools
// fill, maps and slabs reach their size. Of the rest, the least of the last third must
// not be above the most of the first third by more than a margin: 10 goroutines, 10
// descriptors, 1 MB and a tenth of heap. Least against most, because noise
// goes both ways and a leak does not; the margin, because a pool may have its
// fullest moment late. An hour replaces some ten thousand connections: a leak
// of one goroutine or descriptor in a thousand of them, or of 150 bytes in each, is
// found.
package soak

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
)

// ErrFailed says that something was seen that must not be; the report says what.
var ErrFailed = errors.New("soak: failed")

// Options say how to soak.
type Options struct {
	// Modes to run, side by side, each once without TLS and once with it.
	Modes []string
	// For is how long; the cycle that runs then is ended, and every fault happens
	// once at least.
	For time.Duration
	// Cycle is how long a cycle is under load, before it comes to rest.
	Cycle time.Duration
	// Notice is the time within which the servers notice a link to Redis that
	// answers nothing.
	Notice time.Duration
	// Witnesses is how many there are, Each to how many of Channels each is
	// subscribed.
	Witnesses, Channels, Each int
	// TokenLife is after how long a token runs out, in whole seconds.
	TokenLife time.Duration
	// Rate is messages published a second, Churn witnesses replaced, interrupted
	// and made to subscribe anew a second, of each a third. Burst is how many
	// messages a burst has.
	Rate  float64
	Churn float64
	Burst int
	// Server is the program; empty: built from the source, with the race detector
	// where Race is set.
	Server string
	Race   bool
	// Out takes a line for each cycle and the report, Stderr what servers say.
	Out, Stderr io.Writer
}

// Defaults are what `compare soak` runs.
func Defaults() Options {
	return Options{
		Modes: node.Modes(), For: time.Hour, Cycle: 20 * time.Second, Notice: 3 * time.Second,
		Witnesses: 200, Channels: 20, Each: 2, Rate: 40, Churn: 9, Burst: 500,
		TokenLife: 40 * time.Second,
	}
}

// Run soaks, writes a report, and returns ErrFailed if anything was wrong.
func Run(ctx context.Context, o Options) error {
	program, remove, err := node.Program(ctx, o.Server, o.Race)
	if err != nil {
		return err
	}
	defer remove()
	o.Server = program
	o.Out = &lines{to: o.Out}
	var runs []*run
	for _, mode := range o.Modes {
		runs = append(runs, &run{Options: o, mode: mode}, &run{Options: o, mode: mode, secure: true})
	}
	var running sync.WaitGroup
	for _, r := range runs {
		running.Go(func() { r.run(ctx) })
	}
	running.Wait()
	failed := false
	for _, r := range runs {
		r.report(o.Out)
		failed = failed || len(r.failures) > 0
	}
	if failed {
		return ErrFailed
	}
	return nil
}

// lines lets several runs write lines to one writer.
type lines struct {
	mu sync.Mutex // held while a line is written
	to io.Writer
}

// Write writes b in one piece.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}

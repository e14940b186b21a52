// Package torture measures healthy clients while thousands of hostile ones (package
// hostile) attack the same server, and says whether the healthy ones noticed.
//
// # How it goes
//
// Healthy witnesses (package witness) are subscribed and messages published, all the
// time. First all is calm: that is what the rest is compared with. Then each
// kind of hostile client attacks alone, and in the end all kinds together.
// After each, everything comes to rest, and every message must have arrived. All
// the while, new witnesses come and go: the door must stay open.
//
// # What is judged
//
// Always: no message is lost, repeated or late; no healthy connection is ended; at
// rest the server holds what belongs to the witnesses and no more. Against the
// bounds: the healthy ones' 99th percentile of latency, and the server's
// memory, each as a ratio to the calm phase of the same run. A latency below
// Bounds.Free, or Flood, is good whatever its ratio.
package torture

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/tandem-ws/tandem/compare/hostile"
	"github.com/tandem-ws/tandem/compare/node"
)

// ErrFailed says that the healthy ones noticed; the report says what.
var ErrFailed = errors.New("torture: failed")

// Bounds are what the hostile may cost the healthy.
type Bounds struct {
	// Latency is how many times as high as when calm the 99th percentile may be,
	// Free what it may be in any case; Flood is that for the attacks that take all of
	// the CPU that they can get, when the healthy wait for their turn.
	Latency     float64
	Free, Flood time.Duration
	// Memory is how many times as high as when calm the server's resident memory
	// may be, beside PerHostile bytes for each hostile connection.
	Memory     float64
	PerHostile float64
}

// Options say how to torture.
type Options struct {
	// Modes to run, one after another.
	Modes []string
	// Healthy is how many witnesses there are, Rate how many messages a second are
	// published to Channels.
	Healthy, Channels int
	Rate              float64
	// Hostile is how many hostile clients attack at once, of one kind or of all.
	Hostile int
	// Phase is how long each attack lasts.
	Phase time.Duration
	// Bounds that fail the run; nil: they are not judged.
	Bounds *Bounds
	// Server is the program; empty: built from the source.
	Server string
	// Out takes the report, Stderr what servers say.
	Out, Stderr io.Writer
}

// Defaults are what `make torture` runs.
func Defaults() Options {
	return Options{
		Modes: node.Modes(), Healthy: 1000, Channels: 50, Rate: 100, Hostile: 2700, Phase: 10 * time.Second,
		Bounds: &Bounds{Latency: 20, Free: 500 * time.Millisecond, Flood: 3 * time.Second, Memory: 2, PerHostile: 64 << 10},
	}
}

// Run tortures, writes a report, and returns ErrFailed if a healthy client
// suffered.
func Run(ctx context.Context, o Options) error {
	program, remove, err := node.Program(ctx, o.Server, false)
	if err != nil {
		return err
	}
	defer remove()
	o.Server = program
	failed := false
	for _, mode := range o.Modes {
		r := &run{Options: o, mode: mode}
		r.run(ctx)
		r.report()
		failed = failed || len(r.failures) > 0
	}
	if failed {
		return ErrFailed
	}
	return ctx.Err()
}

// phases are the attacks, in turn: nobody, each kind, all of them, nobody.
func phases() (all [][]string) {
	all = append(all, nil)
	for _, kind := range hostile.Kinds() {
		all = append(all, []string{kind})
	}
	return append(all, hostile.Kinds(), nil)
}

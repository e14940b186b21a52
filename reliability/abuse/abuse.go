// Package abuse measures healthy clients while thousands of hostile ones (package
// attack) attack the same server, and reports whether the healthy clients suffer.
//
// # Phases
//
// Healthy clients (package client) are subscribed and messages are published all the
// time. The first phase is calm, for comparison. Then each kind of hostile client
// attacks alone, and finally all kinds attack together. After each phase, everything
// comes to rest, and every message must have arrived. Meanwhile new clients come and
// go: the server must remain reachable.
//
// # What is checked
//
// Always: no message is lost, repeated or late; no healthy connection is ended; at
// rest the server holds what belongs to the healthy clients and no more. If there are
// bounds: the 99th percentile of the healthy clients' latency, and the server's
// memory, as ratios to the calm phase of the same run. A latency below Bounds.Free, or
// Bounds.Flood, passes whatever its ratio.
package abuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/reliability/attack"
)

// ErrFailed means that the healthy clients suffered; the report says how.
var ErrFailed = errors.New("abuse: failed")

// Bounds limit what hostile clients may cost healthy ones.
type Bounds struct {
	// Latency bounds the ratio of the 99th percentile to that of the calm phase.
	// Latencies up to Free pass in any case, and so do those up to Flood in attacks
	// that use all the CPU that they get.
	Latency     float64
	Free, Flood time.Duration
	// Memory bounds the ratio of the server's resident memory to that of the calm
	// phase, with PerHostile bytes for each hostile connection on top.
	Memory     float64
	PerHostile float64
}

// ErrOptions means that the options cannot be used.
var ErrOptions = errors.New("abuse: bad options")

// Options configure the run.
type Options struct {
	// Modes run one after another.
	Modes []string
	// Healthy is the number of healthy clients. Rate messages a second are published
	// to Channels.
	Healthy, Channels int
	Rate              float64
	// Hostile is how many hostile clients attack at once, of one kind or of all.
	Hostile int
	// Phase is how long each attack lasts.
	Phase time.Duration
	// Bounds are not checked if they are nil.
	Bounds *Bounds
	// Server is the program; if it is empty, it is built from source.
	Server string
	// Out receives the report, and Stderr the output of the servers.
	Out, Stderr io.Writer
}

// Defaults returns the options of `make abuse`.
func Defaults() Options {
	return Options{
		Modes: node.Modes(), Healthy: 1000, Channels: 50, Rate: 100, Hostile: 2700, Phase: 10 * time.Second,
		Bounds: &Bounds{Latency: 20, Free: 500 * time.Millisecond, Flood: 3 * time.Second, Memory: 2, PerHostile: 64 << 10},
	}
}

func (o *Options) check() error {
	if err := node.CheckModes(o.Modes); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	switch {
	case o.Healthy < 1:
		return fmt.Errorf("%w: -healthy %d: choose at least 1", ErrOptions, o.Healthy)
	case o.Hostile < len(attack.Kinds()):
		return fmt.Errorf("%w: -hostile %d: choose at least %d, one of each kind", ErrOptions, o.Hostile, len(attack.Kinds()))
	case o.Phase <= 0:
		return fmt.Errorf("%w: -phase %v: choose a positive duration", ErrOptions, o.Phase)
	}
	return nil
}

// Run attacks, writes a report, and returns ErrFailed if a healthy client suffered.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
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

// phases returns the kinds that attack in each phase: none, each kind alone, all,
// none.
func phases() (all [][]string) {
	all = append(all, nil)
	for _, kind := range attack.Kinds() {
		all = append(all, []string{kind})
	}
	return append(all, attack.Kinds(), nil)
}

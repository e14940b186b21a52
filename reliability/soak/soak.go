// Package soak runs servers for a long time under everything at once: clients of every
// protocol, with and without compression, that come and go, resubscribe and renew
// tokens; fan-out and bursts; and a Redis that fails in every way that package fault
// offers. Each mode runs twice, without TLS and with it. A soak fails on messages that
// were lost without an announcement, repeated or late; on anything that a closed
// connection leaves behind; and on growth of goroutines, descriptors or heap.
//
// # Cycles
//
// A run consists of cycles. In each, messages are published all the time, clients
// (package client) are replaced, interrupted and made to resubscribe, one fault of
// Redis is injected and healed, and a burst is published. Then publishing and churn
// stop, and everything must come to rest: every client is subscribed, every message
// was received or announced as missed (or missed by all, in protocols that cannot
// signal gaps), and the server has as many connections, subscriptions and channels as
// there are clients. In this state, which is the same at the end of each cycle,
// garbage is collected and a sample is taken.
//
// Clients need a token to connect, and another for each private channel. Tokens are
// valid for TokenLife: clients of the Centrifuge protocol renew theirs; others are
// disconnected and come back.
//
// # Growth
//
// All samples are taken in the same state, so what a cycle leaves behind adds up. The
// first quarter of the cycles is a warm-up and is not judged: pools, maps and slabs
// grow to their size. Of the rest, the minimum of the last third must not exceed the
// maximum of the first third by more than a margin: 10 goroutines, 10 descriptors, 1
// MB and a tenth of heap. The minimum is compared with the maximum because noise goes
// both ways and a leak does not; the margin allows for a pool that is fullest late. An
// hour replaces about ten thousand connections, so that a leak of one goroutine or
// descriptor in a thousand of them, or of 150 bytes in each, is found.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
)

// ErrFailed means that the run failed; the report says why.
var ErrFailed = errors.New("soak: failed")

// ErrOptions means that the options cannot be used.
var ErrOptions = errors.New("soak: bad options")

// Options configure a soak.
type Options struct {
	// Modes run side by side, each once without TLS and once with it.
	Modes []string
	// For is the duration. The current cycle is completed, and every fault happens at
	// least once.
	For time.Duration
	// Cycle is how long a cycle is under load before it comes to rest.
	Cycle time.Duration
	// Notice is the time within which the servers notice that the link to Redis is
	// dead.
	Notice time.Duration
	// Rest is how long a run may take to come to rest after a fault: delays between
	// attempts to reach Redis are up to 3 s, and those of the clients, as configured
	// here, up to 5 s.
	Rest time.Duration
	// Clients is how many there are; each subscribes to Each of Channels.
	Clients, Channels, Each int
	// TokenLife is how long a token is valid, in whole seconds.
	TokenLife time.Duration
	// Rate is messages published a second. Churn is how many clients a second are
	// replaced, interrupted or made to resubscribe, a third each. Burst is the size of
	// a burst.
	Rate  float64
	Churn float64
	Burst int
	// Server is the program; if it is empty, it is built from source, with the race
	// detector if Race is set.
	Server string
	Race   bool
	// Out receives a line for each cycle and the report, and Stderr the output of the
	// servers.
	Out, Stderr io.Writer
}

// Defaults returns the options of `make soak`.
func Defaults() Options {
	return Options{
		Modes: node.Modes(), For: time.Hour, Cycle: 20 * time.Second, Notice: 3 * time.Second,
		Clients: 200, Channels: 20, Each: 2, Rate: 40, Churn: 9, Burst: 500,
		TokenLife: 40 * time.Second, Rest: time.Minute,
	}
}

const maxRate = 1e6 // a second

func (o *Options) check() error {
	if err := node.CheckModes(o.Modes); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	switch {
	case o.For < 0 || o.Cycle <= 0 || o.Notice <= 0:
		return fmt.Errorf("%w: -for %v, -cycle %v: choose positive durations", ErrOptions, o.For, o.Cycle)
	case o.Clients < 1 || o.Channels < 1 || o.Each < 1:
		return fmt.Errorf("%w: -clients %d: choose at least 1", ErrOptions, o.Clients)
	case !(o.Rate > 0 && o.Rate <= maxRate) || !(o.Churn > 0 && o.Churn <= maxRate):
		return fmt.Errorf("%w: -rate %g, -churn %g: choose positive numbers up to %g", ErrOptions, o.Rate, o.Churn, maxRate)
	case o.TokenLife < time.Second || o.TokenLife%time.Second != 0:
		return fmt.Errorf("%w: -token-life %v: choose whole seconds", ErrOptions, o.TokenLife)
	}
	return nil
}

// Run soaks, writes a report, and returns ErrFailed if anything was wrong.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
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

// lines serializes the writes of several runs.
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

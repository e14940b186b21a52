// Package anchor measures what a server spends as a multiple of the floor: a C program
// that does the least that a WebSocket pub/sub server can do. Unlike microseconds,
// such ratios hold from one machine to the next.
//
// Server and floor run on one CPU; load, Redis and publisher on another. Every run has
// fresh processes, floor and server take turns, and the order changes from repeat to
// repeat. CPU is user and system time as the scheduler counts it, in nanoseconds. The
// load stays awake between messages (see package load), because waking the receiver is
// part of the sender's write on loopback, unlike on any other network. CPU that other
// programs use meanwhile is reported as a disturbance.
package anchor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/workload"
)

// ErrOptions means that the options cannot be used.
var ErrOptions = errors.New("anchor: bad options")

// Options configure the measurement.
type Options struct {
	// Floor is the floor program (see BuildFloor), and Server the server program.
	Floor, Server string
	// Name is the server's name in the table.
	Name string
	// Goals means that the server has the goals of the optimized mode.
	Goals bool
	// Peers are other programs to measure.
	Peers []Peer
	// Env are KEY=VALUE settings of the server, which override GOMAXPROCS=1 and
	// LOG_LEVEL=error.
	Env []string
	// Protocol is one of package load's; empty means the Centrifuge protocol.
	Protocol string
	// Repeats of every scenario.
	Repeats int
	// Only are the scenarios to run; none means all.
	Only []string
	// ServerCPU is the CPU of server and floor, and LoadCPU that of everything else.
	ServerCPU, LoadCPU int
	// LoadSleeps lets the load sleep when there is nothing to receive, so that the
	// cost of waking it is part of the writes that are measured.
	LoadSleeps bool
	Sizes      Sizes
	// Columns is the width that the table must fit; 0 means any.
	Columns int
	// Log receives a line for every run.
	Log *slog.Logger
}

// Peer is a program that is started like the floor, with the port to listen on and
// that of Redis as its arguments, and speaks as the floor does: it answers a client's
// first message, {"op":"subscribe","channel":"bench"}, and sends each message of the
// channel as a text frame. Unlike the floor it supports any channel.
type Peer struct{ Name, Program string }

// Check returns ErrOptions if the options cannot be used.
func (o *Options) Check() error {
	if o.Repeats < 1 {
		return fmt.Errorf("%w: %d repeats", ErrOptions, o.Repeats)
	}
	for _, name := range o.Only {
		if !slices.Contains(Scenarios, name) {
			return fmt.Errorf("%w: no scenario %q: there are %v", ErrOptions, name, Scenarios)
		}
	}
	if o.ServerCPU == o.LoadCPU {
		return fmt.Errorf("%w: server and load on the same CPU %d: the ratios would tell nothing", ErrOptions, o.LoadCPU)
	}
	if o.ServerCPU < 0 || o.LoadCPU < 0 {
		return fmt.Errorf("%w: CPUs %d and %d: they are counted from 0", ErrOptions, o.ServerCPU, o.LoadCPU)
	}
	if protocols := []string{"", load.Centrifuge, load.Raw, load.SSE, load.Stream}; !slices.Contains(protocols, o.Protocol) {
		return fmt.Errorf("%w: protocol %q: choose one of %s", ErrOptions, o.Protocol, strings.Join(protocols[1:], ", "))
	}
	if s := o.Sizes; s.LowTime < 0 || s.ManyTime < 0 || s.Payload != 0 && s.Payload < workload.MinSize {
		return fmt.Errorf("%w: times of %v and %v, messages of %d bytes: times are positive, and a message has at least %d bytes",
			ErrOptions, s.LowTime, s.ManyTime, s.Payload, workload.MinSize)
	}
	for _, peer := range o.Peers {
		if peer.Program == "" && !slices.Contains(Builtin, peer.Name) {
			return fmt.Errorf("%w: no peer %q is built in, there are %v: give NAME=PROGRAM", ErrOptions, peer.Name, Builtin)
		}
	}
	for _, kv := range o.Env {
		if i := slices.Index([]byte(kv), '='); i < 1 {
			return fmt.Errorf("%w: setting %q is not KEY=VALUE", ErrOptions, kv)
		}
	}
	return nil
}

// samples holds the samples by scenario and by subject: floor first, server last.
type samples map[string][][]sample

// of returns the runs of one subject in a scenario.
func (s samples) of(scenario string, subject int) []sample {
	if s[scenario] == nil {
		return nil
	}
	return s[scenario][subject]
}

// Run measures and writes the table to out. It moves this process to the load's
// CPU.
func Run(ctx context.Context, o Options, out io.Writer) error {
	if err := o.Check(); err != nil {
		return err
	}
	if err := process.Pin(o.LoadCPU); err != nil {
		return err
	}
	subjects := []subject{floorSubject(o.Floor, o.ServerCPU)}
	for _, peer := range o.Peers {
		subjects = append(subjects, peerSubject(peer, o.ServerCPU))
	}
	subjects = append(subjects, serverSubject(o))
	all := samples{}
	for repeat := range o.Repeats {
		for _, sc := range scenarios {
			if !o.wanted(sc.name) {
				continue
			}
			if all[sc.name] == nil {
				all[sc.name] = make([][]sample, len(subjects))
			}
			for turn := range subjects {
				which := (turn + repeat) % len(subjects)
				if subjects[which].kind < sc.least {
					continue
				}
				s, err := runOne(ctx, subjects[which], sc, o)
				if err != nil {
					return err
				}
				o.Log.Info("run", "repeat", repeat+1, "of", o.Repeats, "scenario", sc.name, "subject", subjects[which].name,
					"us", round(s.cpu/1000), "bytes", round(s.bytes), "others_cpus", round(s.others), "flaws", s.flaws)
				all[sc.name][which] = append(all[sc.name][which], s)
			}
		}
	}
	writeTable(out, o, all)
	return nil
}

// wanted reports whether a scenario is to be run. The floor's low rate is also the
// unit of Many.
func (o *Options) wanted(name string) bool {
	return len(o.Only) == 0 || slices.Contains(o.Only, name) ||
		name == Low && slices.Contains(o.Only, Many)
}

func runOne(ctx context.Context, s subject, sc scenario, o Options) (sample, error) {
	b, err := set(ctx, s, o.LoadCPU, o.LoadSleeps)
	if err != nil {
		return sample{}, err
	}
	defer b.clear()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	defer func() { cancel(nil); <-watched }()
	go func() {
		defer close(watched)
		select {
		case <-b.server.Done():
			cancel(b.server.Died())
		case <-b.redis.Done():
			cancel(b.redis.Died())
		case <-ctx.Done():
		}
	}()
	quiet, err := b.listen()
	if err != nil {
		return sample{}, err
	}
	out, err := sc.run(ctx, b, o.Sizes)
	if err == nil {
		out.others, err = b.since(quiet)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		return sample{}, fmt.Errorf("anchor: %s, %s: %w", sc.name, s.name, err)
	}
	return out, nil
}

package run

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/compare/arm"
	"github.com/tandem-ws/tandem/compare/rig"
	"github.com/tandem-ws/tandem/compare/scenario"
)

var (
	// ErrOptions means that the options cannot be used; the text says why.
	ErrOptions = errors.New("run")
	// ErrPartial means that some runs are missing; what was measured is kept.
	ErrPartial = errors.New("run: partial")
)

// Options say what is measured.
type Options struct {
	Arms      []arm.Arm
	Scenarios []scenario.Scenario
	// Profile is one of scenario.Profiles; Repeats 0: the profile's.
	Profile  string
	Repeats  int
	Override scenario.Override
	// Budget bounds all of it: what would go beyond it of the second and later
	// repeats is not begun. A scenario is left out for all arms or for none.
	// 0: the profile's.
	// It counts from the call of Run, building the server included.
	Budget time.Duration
	// Out is the results folder, "" for results/<time>.
	Out string
	// Server is the server program; "" has it built from this module.
	Server string
	// Self is the path of the compare program.
	Self string
	// Args are the command line's, for the manifest.
	Args []string
	// Terminal takes progress and remarks; Interactive says that it is one.
	Terminal    io.Writer
	Interactive bool
	// Stderr takes what the measured processes say; nil: nothing, but errors name
	// the last line of a process that died.
	Stderr io.Writer

	fileLimit uint64 // descriptors of a process; 0: what the system says
}

// profile is what a profile says about the whole.
type profile struct {
	repeats int
	budget  time.Duration
}

var profiles = map[string]profile{
	"tiny":  {repeats: 1},
	"quick": {repeats: 2, budget: 165 * time.Second},
	// an even number, so that every arm comes first as often as last
	"full": {repeats: 6},
}

func (o *Options) check() error {
	p, ok := profiles[o.Profile]
	if !ok {
		return fmt.Errorf("%w: profile %q is unknown: use %s", ErrOptions, o.Profile, strings.Join(scenario.Profiles, ", "))
	}
	if o.Repeats == 0 {
		o.Repeats = p.repeats
	}
	if o.Budget == 0 {
		o.Budget = p.budget
	}
	switch {
	case o.Repeats < 1 || o.Repeats > 1000:
		return fmt.Errorf("%w: %d repeats: choose 1 to 1000", ErrOptions, o.Repeats)
	case len(o.Arms) == 0 || len(o.Scenarios) == 0:
		return fmt.Errorf("%w: there is nothing to measure", ErrOptions)
	case o.Override.Bytes != 0 && (o.Override.Bytes < minBytes || o.Override.Bytes > maxBytes):
		return fmt.Errorf("%w: messages of %d bytes: choose %d to %d", ErrOptions, o.Override.Bytes, minBytes, maxBytes)
	case o.Budget < 0:
		return fmt.Errorf("%w: a budget of %v: choose a positive time", ErrOptions, o.Budget)
	case o.Override.Measure < 0 || o.Override.Measure > 10*time.Minute:
		return fmt.Errorf("%w: windows of %v: choose up to 10m", ErrOptions, o.Override.Measure)
	}
	counts := o.Override.Connections
	if !slices.IsSorted(counts) || len(counts) > 0 && (counts[0] < 1 || counts[len(counts)-1] > maxConnections) {
		return fmt.Errorf("%w: connections %v: give ascending numbers from 1 to %d", ErrOptions, counts, maxConnections)
	}
	if len(slices.Compact(slices.Clone(counts))) != len(counts) {
		return fmt.Errorf("%w: connections %v: a number is there twice", ErrOptions, counts)
	}
	return o.checkLimits()
}

const (
	minBytes, maxBytes = 96, 60_000
	maxConnections     = 5_000_000
	// leastDescriptors is what a process needs beside its connections.
	leastDescriptors = 2048
)

// checkLimits says when the machine will not let it happen.
func (o *Options) checkLimits() error {
	limit := o.fileLimit
	if limit == 0 {
		limit = rig.FileLimit()
	}
	if limit > 0 && limit < leastDescriptors {
		return fmt.Errorf("%w: a process may have %d descriptors only: raise the limit (ulimit -n 20000)", ErrOptions, limit)
	}
	for _, s := range o.Scenarios {
		most := s.Most(s.Size(o.Profile, o.Override))
		for _, a := range o.Arms {
			if a.External != nil && a.External.PID > 0 {
				continue // its own limit is its own
			}
			if n := rig.Processes(most, limit); n > 200 {
				return fmt.Errorf("%w: %s: %d connections need %d server processes at %d descriptors each: raise the limit (ulimit -n)",
					ErrOptions, s.Name, most, n, limit)
			}
		}
	}
	return nil
}

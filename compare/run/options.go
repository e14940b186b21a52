package run

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/compare/scenario"
	"github.com/tandem-ws/tandem/compare/testbed"
	"github.com/tandem-ws/tandem/compare/variant"
)

var (
	// ErrOptions means that the options cannot be used; the text says why.
	ErrOptions = errors.New("run")
	// ErrPartial means that some runs are missing; what was measured is kept.
	ErrPartial = errors.New("run: partial")
)

// Options configure the package.
type Options struct {
	Variants  []variant.Variant
	Scenarios []scenario.Scenario
	// Profile is one of scenario.Profiles. Repeats is that of the profile if it is 0.
	Profile  string
	Repeats  int
	Override scenario.Override
	// Budget limits the duration of the whole measurement, from the call of Run.
	// Scenarios of the second and later repeats that would exceed it are skipped, for
	// all variants alike. 0 means that of the profile.
	Budget time.Duration
	// Out is the results folder; "" means results/<time>.
	Out string
	// Server is the server program; "" means that it is built from source.
	Server string
	// Self is the path of the compare program.
	Self string
	// Args are the arguments of the command line, for the manifest.
	Args []string
	// Terminal receives progress and remarks. Interactive means that it is a terminal.
	Terminal    io.Writer
	Interactive bool
	// Stderr receives the output of the measured processes. If it is nil, only the
	// last line of a process that dies is kept.
	Stderr io.Writer

	fileLimit uint64 // descriptors of a process; 0: what the system says
}

// profile holds the settings of a profile for the whole measurement.
type profile struct {
	repeats int
	budget  time.Duration
}

var profiles = map[string]profile{
	"tiny":  {repeats: 1},
	"quick": {repeats: 2, budget: 165 * time.Second},
	// an even number, so that each variant is first as often as last
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
	case len(o.Variants) == 0 || len(o.Scenarios) == 0:
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
	// leastDescriptors is what a process needs besides its connections.
	leastDescriptors = 2048
)

// checkLimits returns an error if the limits of this machine are too low.
func (o *Options) checkLimits() error {
	limit := o.fileLimit
	if limit == 0 {
		limit = testbed.FileLimit()
	}
	if limit > 0 && limit < leastDescriptors {
		return fmt.Errorf("%w: a process may have %d descriptors only: raise the limit (ulimit -n 20000)", ErrOptions, limit)
	}
	for _, s := range o.Scenarios {
		most := s.Most(s.Size(o.Profile, o.Override))
		for _, a := range o.Variants {
			if a.External != nil && a.External.PID > 0 {
				continue // its own limit is its own
			}
			if n := testbed.Processes(most, limit); n > 200 {
				return fmt.Errorf("%w: %s: %d connections need %d server processes at %d descriptors each: raise the limit (ulimit -n)",
					ErrOptions, s.Name, most, n, limit)
			}
		}
	}
	return nil
}

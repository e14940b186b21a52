// Package scenario holds the scenarios in which variants are measured. A scenario gets
// a testbed with a fresh server, drives it, and returns samples. Repeats, folders and
// reports are not its business.
package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
)

// ErrScenario means that a scenario or a profile is unknown.
var ErrScenario = errors.New("scenario")

// Size is the size of a scenario, which uses the fields that it needs.
type Size struct {
	// Connections are the numbers of connections to measure, in ascending order; most
	// scenarios use only the last.
	Connections []int
	// Rates a second: of messages, or of replaced connections.
	Rates []float64
	// Messages of a burst.
	Messages int
	// Bytes of a message.
	Bytes int
	// Measure is the duration of a window, and Settle that of the pause before it.
	Measure, Settle time.Duration
}

// most returns the highest number of connections.
func (s Size) most() int { return s.Connections[len(s.Connections)-1] }

// Scenario is something that variants are measured in.
type Scenario struct {
	Name, Title string
	// Shows describes the purpose in a sentence or two.
	Shows string
	// Env is set for every server that compare starts.
	Env []string
	// Lossy means that the scenario itself loses messages.
	Lossy bool
	// OwnServer says why the scenario needs a server that compare has started; ""
	// means that it does not.
	OwnServer string

	sizes    map[string]Size // by profile
	describe func(Size) string
	extra    time.Duration  // that it takes beyond windows and connects
	windows  func(Size) int // how many windows of Measure and Settle it has
	run      func(*bench) error
}

// Profiles lists the profiles, smallest first.
var Profiles = []string{"tiny", "quick", "full"}

// All returns the scenarios in order.
func All() []Scenario {
	return []Scenario{idle, storm, broadcast, burst, channels, publication, churn, frozen, restart, ledger}
}

// Choose returns the scenarios named in a comma-separated list, or all if it is empty.
func Choose(list string) ([]Scenario, error) {
	all := All()
	if list == "" {
		return all, nil
	}
	var chosen []Scenario
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
		if i < 0 {
			names := make([]string, len(all))
			for i, s := range all {
				names[i] = s.Name
			}
			return nil, fmt.Errorf("%w: %q is unknown: use %s", ErrScenario, name, strings.Join(names, ", "))
		}
		if slices.ContainsFunc(chosen, func(s Scenario) bool { return s.Name == name }) {
			return nil, fmt.Errorf("%w: %q is named twice", ErrScenario, name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// Override holds settings of the command line that replace those of a profile, unless
// they are zero.
type Override struct {
	Connections []int
	Bytes       int
	Measure     time.Duration
}

// Size returns the size of this scenario in a profile.
func (s Scenario) Size(profile string, o Override) Size {
	size := s.sizes[profile]
	if len(o.Connections) > 0 {
		size.Connections = o.Connections
		if s.windows(size) > 0 && len(size.Connections) > 1 && s.Name != idle.Name && s.Name != ledger.Name {
			size.Connections = size.Connections[len(size.Connections)-1:]
		}
		if needsTwo(s) && len(size.Connections) < 2 {
			size.Connections = []int{max(size.Connections[0]/10, 1), size.Connections[0]}
		}
	}
	if o.Bytes > 0 {
		size.Bytes = o.Bytes
	}
	if o.Measure > 0 && size.Measure > 0 {
		size.Measure = o.Measure
	}
	return size
}

// Sized is Size with an error if there is no such profile.
func (s Scenario) Sized(profile string, o Override) (Size, error) {
	if !slices.Contains(Profiles, profile) {
		return Size{}, fmt.Errorf("%w: profile %q is unknown: use %s", ErrScenario, profile, strings.Join(Profiles, ", "))
	}
	return s.Size(profile, o), nil
}

// needsTwo reports whether the scenario measures a slope.
func needsTwo(s Scenario) bool { return s.Name == "idle" || s.Name == result.LedgerScenario }

// Most returns the highest number of connections that are open at a time.
func (s Scenario) Most(size Size) int {
	if s.Name == churn.Name {
		return size.most() + 512 // those that are ending, besides the others
	}
	return size.most()
}

// Describe describes the load in a sentence.
func (s Scenario) Describe(size Size) string { return s.describe(size) }

// connectPerSecond is what a slow variant accepts on a slow machine.
const connectPerSecond = 6000

// Takes estimates the duration of one run.
func (s Scenario) Takes(size Size) time.Duration {
	const setUp = 500 * time.Millisecond
	connect := time.Duration(float64(size.most()) / connectPerSecond * float64(time.Second))
	return setUp + connect + s.extra + time.Duration(s.windows(size))*(size.Measure+size.Settle)
}

// Run runs the scenario and returns what was measured, which is nothing if there is an
// error.
func (s Scenario) Run(r *testbed.Testbed, size Size) ([]result.Sample, error) {
	b := &bench{Testbed: r, size: size, scenario: s}
	if err := s.run(b); err != nil {
		return nil, r.Fail(fmt.Errorf("%s: %w", s.Name, err))
	}
	return b.samples, nil
}

// Try delivers one message to one connection, to find out whether a variant can be
// measured.
func Try(r *testbed.Testbed) error {
	b := &bench{Testbed: r, size: Size{Connections: []int{1}, Bytes: 128}}
	_, err := b.Connect(testbed.Connections{N: 1, Channel: shared})
	if err == nil {
		_, err = b.verifyNumbers(1, tryTime)
	}
	return r.Fail(err)
}

// tryTime is how long that message may take.
const tryTime = 15 * time.Second

func one(Size) int { return 1 }

// thousands formats a number with separators.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Package scenario holds what the arms are put through. A scenario gets a rig
// with a fresh server, drives it, and returns samples; it knows nothing of
// repeats, folders and reports.
package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/rig"
)

// ErrScenario says that a scenario is unknown, or a size not possible.
var ErrScenario = errors.New("scenario")

// Size is how much of it an arm is put through. A scenario uses the fields that
// it needs.
type Size struct {
	// Connections are the numbers of connections to be measured, ascending; of
	// most scenarios only the last counts.
	Connections []int
	// Rates a second: of messages, or of replaced connections.
	Rates []float64
	// Messages of a burst.
	Messages int
	// Bytes of a message.
	Bytes int
	// Measure is how long a window lasts, Settle how long it takes to come to
	// rest before.
	Measure, Settle time.Duration
}

// most is the highest number of connections.
func (s Size) most() int { return s.Connections[len(s.Connections)-1] }

// Scenario is one thing that arms are put through.
type Scenario struct {
	Name, Title string
	// Shows says what it shows, in a sentence or two.
	Shows string
	// Env is set for every server that compare starts.
	Env []string
	// Lossy scenarios lose messages by their nature.
	Lossy bool
	// OwnServer needs a server that compare started; Why says why.
	OwnServer string

	sizes    map[string]Size // by profile
	describe func(Size) string
	extra    time.Duration  // that it takes beyond windows and connects
	windows  func(Size) int // how many windows of Measure and Settle it has
	run      func(*bench) error
}

// Profiles by name, the least first.
var Profiles = []string{"tiny", "quick", "full"}

// All are the scenarios, in the order in which they are run and shown.
func All() []Scenario {
	return []Scenario{idle, storm, broadcast, burst, channels, publication, churn, frozen, restart, ledger}
}

// Choose returns the scenarios named in the comma-separated list; all if it is
// empty.
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

// Override are settings of the command line that take the place of a profile's;
// zero ones do not.
type Override struct {
	Connections []int
	Bytes       int
	Measure     time.Duration
}

// Size is what the profile has for this scenario.
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

// Sized is Size, with an error for a profile that there is none of.
func (s Scenario) Sized(profile string, o Override) (Size, error) {
	if !slices.Contains(Profiles, profile) {
		return Size{}, fmt.Errorf("%w: profile %q is unknown: use %s", ErrScenario, profile, strings.Join(Profiles, ", "))
	}
	return s.Size(profile, o), nil
}

// needsTwo says that the scenario takes a slope.
func needsTwo(s Scenario) bool { return s.Name == "idle" || s.Name == result.LedgerScenario }

// Most is the highest number of connections that are open at one time.
func (s Scenario) Most(size Size) int {
	if s.Name == churn.Name {
		return size.most() + 512 // those that are ending beside those that begin
	}
	return size.most()
}

// Describe says in a sentence what arms are put through.
func (s Scenario) Describe(size Size) string { return s.describe(size) }

// connectPerSecond is what a slow arm on a slow machine takes in.
const connectPerSecond = 6000

// Takes is how long one run takes, about.
func (s Scenario) Takes(size Size) time.Duration {
	const setUp = 500 * time.Millisecond
	connect := time.Duration(float64(size.most()) / connectPerSecond * float64(time.Second))
	return setUp + connect + s.extra + time.Duration(s.windows(size))*(size.Measure+size.Settle)
}

// Run puts a server through the scenario and returns what was measured. On an
// error nothing was.
func (s Scenario) Run(r *rig.Rig, size Size) ([]result.Sample, error) {
	b := &bench{Rig: r, size: size, scenario: s}
	if err := s.run(b); err != nil {
		return nil, r.Fail(fmt.Errorf("%s: %w", s.Name, err))
	}
	return b.samples, nil
}

// Try has one connection receive one message: what cannot do that cannot be
// measured.
func Try(r *rig.Rig) error {
	b := &bench{Rig: r, size: Size{Connections: []int{1}, Bytes: 128}}
	_, err := b.Connect(rig.Connections{N: 1, Channel: shared})
	if err == nil {
		_, err = b.verifyNumbers(1, tryTime)
	}
	return r.Fail(err)
}

// tryTime is how long the one message may take.
const tryTime = 15 * time.Second

func one(Size) int { return 1 }

// thousands writes a number as people read it.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

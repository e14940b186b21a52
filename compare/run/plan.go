package run

import (
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/arm"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/scenario"
)

// step is one run of the plan.
type step struct {
	arm      arm.Arm
	scenario scenario.Scenario
	size     scenario.Size
	repeat   int // from 1
	takes    time.Duration
}

func (s step) String() string {
	return fmt.Sprintf("%s, %s, repeat %d", s.scenario.Name, s.arm.Name, s.repeat)
}

// plan is all runs in the order in which they are made.
type plan struct {
	steps   []step
	skipped []result.Skipped
}

// order is how the arms take turns, for the manifest.
const order = "every scenario takes all arms in turn, A B C in odd repeats and C B A in even ones"

// makePlan lays out the runs: repeat by repeat, so that what was interrupted has
// seen everything once first; in each scenario the arms follow each other, in
// turned order in every other repeat, so that a drift of the machine meets all of
// them alike.
func makePlan(o *Options) plan {
	var p plan
	for repeat := 1; repeat <= o.Repeats; repeat++ {
		for _, s := range o.Scenarios {
			size := s.Size(o.Profile, o.Override)
			for i := range o.Arms {
				if repeat%2 == 0 {
					i = len(o.Arms) - 1 - i
				}
				a := o.Arms[i]
				if a.External != nil && s.OwnServer != "" {
					if repeat == 1 {
						p.skipped = append(p.skipped, result.Skipped{Arm: a.Name, Scenario: s.Name, Why: s.OwnServer})
					}
					continue
				}
				p.steps = append(p.steps, step{arm: a, scenario: s, size: size, repeat: repeat, takes: s.Takes(size)})
			}
		}
	}
	return p
}

// begins says whether step i is the first of a scenario in a repeat.
func (p plan) begins(i int) bool {
	if i == 0 {
		return true
	}
	before, s := p.steps[i-1], p.steps[i]
	return before.scenario.Name != s.scenario.Name || before.repeat != s.repeat
}

// round is how long all arms take for the scenario that begins at step i.
func (p plan) round(i int) (sum time.Duration) {
	for j, s := range p.steps[i:] {
		if j > 0 && p.begins(i+j) {
			break
		}
		sum += s.takes
	}
	return sum
}

// takes is how long all of it takes, about.
func (p plan) takes() (sum time.Duration) {
	for _, s := range p.steps {
		sum += s.takes
	}
	return sum
}

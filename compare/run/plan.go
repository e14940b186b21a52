package run

import (
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/scenario"
	"github.com/tandem-ws/tandem/compare/variant"
)

// step is one run of the plan.
type step struct {
	variant  variant.Variant
	scenario scenario.Scenario
	size     scenario.Size
	repeat   int // from 1
	takes    time.Duration
}

func (s step) String() string {
	return fmt.Sprintf("%s, %s, repeat %d", s.scenario.Name, s.variant.Name, s.repeat)
}

// plan lists all runs in order.
type plan struct {
	steps   []step
	skipped []result.Skipped
}

// order describes the order of the variants, for the manifest.
const order = "every scenario takes all variants in turn, A B C in odd repeats and C B A in even ones"

// makePlan plans the runs repeat by repeat, so that an interrupted measurement has
// seen everything once first. In each scenario the variants follow each other, in
// reverse order in every other repeat, so that a drift of the machine affects all of
// them alike.
func makePlan(o *Options) plan {
	var p plan
	for repeat := 1; repeat <= o.Repeats; repeat++ {
		for _, s := range o.Scenarios {
			size := s.Size(o.Profile, o.Override)
			for i := range o.Variants {
				if repeat%2 == 0 {
					i = len(o.Variants) - 1 - i
				}
				a := o.Variants[i]
				if a.External != nil && s.OwnServer != "" {
					if repeat == 1 {
						p.skipped = append(p.skipped, result.Skipped{Variant: a.Name, Scenario: s.Name, Why: s.OwnServer})
					}
					continue
				}
				p.steps = append(p.steps, step{variant: a, scenario: s, size: size, repeat: repeat, takes: s.Takes(size)})
			}
		}
	}
	return p
}

// begins reports whether step i is the first of a scenario in a repeat.
func (p plan) begins(i int) bool {
	if i == 0 {
		return true
	}
	before, s := p.steps[i-1], p.steps[i]
	return before.scenario.Name != s.scenario.Name || before.repeat != s.repeat
}

// round returns how long all variants take for the scenario that begins at step i.
func (p plan) round(i int) (sum time.Duration) {
	for j, s := range p.steps[i:] {
		if j > 0 && p.begins(i+j) {
			break
		}
		sum += s.takes
	}
	return sum
}

// takes estimates the duration of the plan.
func (p plan) takes() (sum time.Duration) {
	for _, s := range p.steps {
		sum += s.takes
	}
	return sum
}

package report

import (
	"fmt"

	"github.com/tandem-ws/tandem/compare/result"
)

// favorite is the arm whose defeats are listed in full, where there is one of
// that name.
const favorite = "optimized"

// losses is where one arm is worse than another.
type losses struct {
	arm, than string
	worse     []string // beyond the noise
	unsure    []string // one run each
	judged    int      // comparisons that had a verdict
	noise     int      // of them within the noise
	flawed    int      // comparisons that could not be judged
}

// losses compares the favourite arm with every other one; where there is none,
// every arm with the first.
func (r *Report) losses() (list []losses) {
	have := false
	for _, a := range r.arms {
		have = have || a == favorite
	}
	for _, a := range r.arms {
		switch {
		case have && a != favorite:
			list = append(list, r.lost(favorite, a))
		case !have && a != r.base():
			list = append(list, r.lost(a, r.base()))
		}
	}
	return list
}

func (r *Report) lost(arm, than string) losses {
	l := losses{arm: arm, than: than}
	for _, p := range r.points {
		for _, m := range p.Metrics() {
			base, f := p.Figure(than, m.ID), p.Figure(arm, m.ID)
			if m.Plain || !base.Have() || !f.Have() {
				continue
			}
			if base.Unsound > 0 || f.Unsound > 0 {
				l.flawed++
				continue
			}
			l.judged++
			says := r.folder.Manifest.ScenarioOf(p.Scenario).Title
			if p.Name != "" {
				says += ", " + p.Name
			}
			says += fmt.Sprintf(": %s %s against %s", m.Name, spread(f, m.Unit), spread(base, m.Unit))
			if by := change(result.Ratio(base, f)); by != "" {
				says += ", " + by
			}
			says += blame(p, arm, than)
			switch result.Judge(m, base, f) {
			case result.Worse:
				l.worse = append(l.worse, says)
			case result.Noise:
				l.noise++
			case result.Unknown:
				if f.Median != base.Median && f.Median > base.Median != m.More {
					l.unsure = append(l.unsure, says)
				}
			}
		}
	}
	return l
}

// blame says when it was not the server that held one of two arms' runs back.
func blame(p *result.Point, arms ...string) string {
	for _, a := range arms {
		switch b := commonest(p.Samples(a)); b {
		case result.BoundLoad, result.BoundPublish, result.BoundShared, result.BoundOthers:
			return fmt.Sprintf(" (the runs of %s were bounded by %s, not by the server)", a, b)
		}
	}
	return ""
}

func (l losses) title() string { return fmt.Sprintf("Where %s loses to %s", l.arm, l.than) }

// says lists the defeats, or says that there were none.
func (l losses) says() (lines []string) {
	lines = append(lines, l.worse...)
	if len(l.worse) == 0 && len(l.unsure) == 0 {
		lines = append(lines, fmt.Sprintf("Nowhere beyond the noise, of %s.", count(l.judged, "comparison")))
	}
	for _, s := range l.unsure {
		lines = append(lines, "Perhaps (one run, noise unknown): "+s)
	}
	if l.noise > 0 {
		lines = append(lines, fmt.Sprintf("Within the noise: %d of %s.", l.noise, count(l.judged, "comparison")))
	}
	if l.flawed > 0 {
		lines = append(lines, fmt.Sprintf("Not judged, for runs were flawed: %s.", count(l.flawed, "comparison")))
	}
	return lines
}

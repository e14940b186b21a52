package report

import (
	"fmt"

	"github.com/tandem-ws/tandem/compare/result"
)

// favorite is the variant whose defeats are listed in full, if there is one with that
// name.
const favorite = "optimized"

// losses is where one variant is worse than another.
type losses struct {
	variant, than string
	worse         []string // beyond the noise
	unsure        []string // one run each
	judged        int      // comparisons that had a verdict
	noise         int      // of them within the noise
	flawed        int      // comparisons that could not be judged
}

// losses compares the favorite with every other variant, or if there is no favorite,
// every variant with the first.
func (r *Report) losses() (list []losses) {
	have := false
	for _, a := range r.variants {
		have = have || a == favorite
	}
	for _, a := range r.variants {
		switch {
		case have && a != favorite:
			list = append(list, r.lost(favorite, a))
		case !have && a != r.base():
			list = append(list, r.lost(a, r.base()))
		}
	}
	return list
}

func (r *Report) lost(variant, than string) losses {
	l := losses{variant: variant, than: than}
	for _, p := range r.points {
		for _, m := range p.Metrics() {
			base, f := p.Figure(than, m.ID), p.Figure(variant, m.ID)
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
			says += blame(p, variant, than)
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

// blame reports what limited the runs of one of two variants, if it was not the
// server.
func blame(p *result.Point, variants ...string) string {
	for _, a := range variants {
		switch b := commonest(p.Samples(a)); b {
		case result.BoundLoad, result.BoundPublish, result.BoundShared, result.BoundOthers:
			return fmt.Sprintf(" (the runs of %s were bounded by %s, not by the server)", a, b)
		}
	}
	return ""
}

func (l losses) title() string { return fmt.Sprintf("Where %s loses to %s", l.variant, l.than) }

// says lists the defeats, or says that there were none.
func (l losses) says() (lines []string) {
	lines = append(lines, l.worse...)
	if len(l.worse) == 0 && len(l.unsure) == 0 {
		lines = append(lines, fmt.Sprintf("Nowhere beyond the noise, of %s.", count(l.judged, "comparison")))
	}
	for _, s := range l.unsure {
		lines = append(lines, "Perhaps (single run, noise unknown): "+s)
	}
	if l.noise > 0 {
		lines = append(lines, fmt.Sprintf("Within the noise: %d of %s.", l.noise, count(l.judged, "comparison")))
	}
	if l.flawed > 0 {
		lines = append(lines, fmt.Sprintf("Not judged, for runs were flawed: %s.", count(l.flawed, "comparison")))
	}
	return lines
}

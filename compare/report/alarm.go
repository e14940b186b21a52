package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-ws/tandem/compare/result"
)

// alarms are what a reader must know before any figure, a line each.
func (r *Report) alarms() (lines []string) {
	m := &r.folder.Manifest
	if m.Partial != "" {
		lines = append(lines, "INCOMPLETE: "+m.Partial)
	} else if m.Done < m.Planned {
		lines = append(lines, fmt.Sprintf("INCOMPLETE: %d of %d runs were made", m.Done, m.Planned))
	}
	flawed := 0
	var where []string
	for i := range r.folder.Samples {
		if s := &r.folder.Samples[i]; !s.Sound() {
			flawed++
			if name := s.Variant + " in " + s.Name(); !slices.Contains(where, name) {
				where = append(where, name)
			}
		}
	}
	if flawed > 0 {
		is := map[bool]string{true: "is", false: "are"}[flawed == 1]
		lines = append(lines, fmt.Sprintf("FLAWED: %s of %d %s not to be trusted: %s", count(flawed, "measurement"), len(r.folder.Samples), is, strings.Join(where, ", ")))
	}
	if disturbed := r.disturbed(); disturbed > 0 {
		lines = append(lines, fmt.Sprintf("DISTURBED: other programs used the CPUs in %d of %s", disturbed, count(len(r.folder.Samples), "measurement")))
	}
	if m.Redis.Embedded {
		lines = append(lines, "EMBEDDED REDIS: no redis-server was found; an embedded Redis was used, which is slower")
	}
	if m.CPUs.Says != "" && len(m.CPUs.Server) == 0 {
		lines = append(lines, "SHARED CPU: "+m.CPUs.Says)
	}
	return lines
}

// disturbed counts the measurements that other programs held back.
func (r *Report) disturbed() (n int) {
	for i := range r.folder.Samples {
		if r.folder.Samples[i].Bound == result.BoundOthers {
			n++
		}
	}
	return n
}

// trouble is a run, or a pair of variant and scenario, that has no figures or none to
// be trusted.
type trouble struct {
	Kind, Variant, Scenario, Runs, Why string
}

func (r *Report) troubles() (list []trouble) {
	m := &r.folder.Manifest
	title := func(scenario, point string) string {
		return strings.TrimSpace(m.ScenarioOf(scenario).Title + " " + point)
	}
	for _, f := range m.Failed {
		list = append(list, trouble{"failed", f.Variant, title(f.Scenario, ""), fmt.Sprint(f.Repeat), f.Why})
	}
	for i := range r.folder.Samples {
		if s := &r.folder.Samples[i]; !s.Sound() {
			list = append(list, trouble{"flawed", s.Variant, title(s.Scenario, s.Point), fmt.Sprint(s.Repeat), strings.Join(s.Flaws, "; ")})
		}
	}
	for _, s := range m.Skipped {
		list = append(list, trouble{"not run", s.Variant, title(s.Scenario, ""), "all", s.Why})
	}
	return append(list, r.missing()...)
}

// missing are pairs of the plan that have neither figures nor a reason.
func (r *Report) missing() (list []trouble) {
	m := &r.folder.Manifest
	for _, s := range m.Scenarios {
		points := r.of(s.Name)
		for _, a := range m.Variants {
			have := slices.ContainsFunc(points, func(p *result.Point) bool { return len(p.Samples(a.Name)) > 0 })
			told := slices.ContainsFunc(m.Failed, func(f result.Failed) bool { return f.Variant == a.Name && f.Scenario == s.Name }) ||
				slices.ContainsFunc(m.Skipped, func(k result.Skipped) bool { return k.Variant == a.Name && k.Scenario == s.Name })
			if !have && !told {
				list = append(list, trouble{"not run", a.Name, s.Title, "all", "the measurement ended earlier"})
			}
		}
	}
	return list
}

package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/perf/benchmath"

	"github.com/tandem-ws/tandem/compare/result"
)

// ErrNothing means that two folders have nothing in common.
var ErrNothing = errors.New("report: the two folders have no variant and scenario in common")

// Changes compares two folders, variant by variant and point by point: medians, ranges,
// the p of the Mann-Whitney U test, and result.Judge's word. The lines are no longer
// than columns.
func Changes(w io.Writer, before, after *Report, columns int) error {
	t := newTable([]string{"", "variant", "before", "after", "change", "p", ""}, 1, 6)
	n := make(map[result.Verdict]int)
	rows := 0
	for _, p := range before.points {
		q := after.point(p)
		if q == nil {
			continue
		}
		name := before.folder.Manifest.ScenarioOf(p.Scenario).Title
		if p.Name != "" {
			name += ", " + p.Name
		}
		for _, metric := range p.Metrics() {
			if metric.Plain {
				continue
			}
			title := name + "\n" + metric.Name
			t.AppendSeparator()
			for _, a := range before.variants {
				was, is := p.Figure(a, metric.ID), q.Figure(a, metric.ID)
				if !was.Have() || !is.Have() {
					continue
				}
				j := judge(metric, was, is)
				word := j.verdict.String()
				if j.class == "loss" {
					word = j.says
				} else {
					n[j.verdict]++
				}
				t.AppendRow(table.Row{title, a, plain.figure(was, metric), plain.figure(is, metric), change(result.Ratio(was, is)), significance(was, is), word})
				title = ""
				rows++
			}
		}
	}
	if rows == 0 {
		return fmt.Errorf("%w: %s and %s", ErrNothing, before.folder.Path, after.folder.Path)
	}
	var b strings.Builder
	for _, s := range unlike(before, after) {
		b.WriteString("! " + s + "\n")
	}
	for _, r := range []*Report{before, after} {
		for _, s := range r.alarms() {
			fmt.Fprintf(&b, "! %s: %s\n", r.folder.Path, s)
		}
	}
	fmt.Fprintf(&b, "before: %s\nafter:  %s\n%s\n", before.says(), after.says(), fit(t, columns))
	fmt.Fprintf(&b, "%d better, %d worse, %d within the noise, %d with one run on a side.\np is of the Mann-Whitney U test; it has a say from four runs on both sides, else ranges that do not touch decide.\n",
		n[result.Better], n[result.Worse], n[result.Noise], n[result.Unknown])
	_, err := io.WriteString(w, wrap(b.String(), columns))
	return err
}

// point is the one of the same name.
func (r *Report) point(p *result.Point) *result.Point {
	i := slices.IndexFunc(r.points, func(q *result.Point) bool { return q.Scenario == p.Scenario && q.Name == p.Name })
	if i < 0 {
		return nil
	}
	return r.points[i]
}

func (r *Report) says() string {
	m := &r.folder.Manifest
	s := r.folder.Path + ", " + m.Started.UTC().Format("2006-01-02 15:04 MST") + ", profile " + m.Profile
	if m.Commit != "" {
		s += ", commit " + m.Commit
	}
	return s
}

// significance is the p value, "" where there are too few runs to have one.
func significance(a, b result.Figure) string {
	if len(a.Values) < 2 || len(b.Values) < 2 {
		return ""
	}
	c := benchmath.AssumeNothing.Compare(
		benchmath.NewSample(slices.Clone(a.Values), &benchmath.DefaultThresholds),
		benchmath.NewSample(slices.Clone(b.Values), &benchmath.DefaultThresholds))
	return fmt.Sprintf("%.3f", c.P)
}

// unlike returns the differences in how two folders were measured, one a line:
// differences of figures may be due to these.
func unlike(a, b *Report) (lines []string) {
	m, n := &a.folder.Manifest, &b.folder.Manifest
	for _, d := range []struct{ what, before, after string }{
		{"CPU", m.Host.CPU, n.Host.CPU},
		{"number of CPUs", fmt.Sprint(m.Host.CPUs), fmt.Sprint(n.Host.CPUs)},
		{"placement on CPUs", m.CPUs.Says, n.CPUs.Says},
		{"kernel", m.Host.Kernel, n.Host.Kernel},
		{"Redis", m.Redis.Version, n.Redis.Version},
		{"Go", m.Go, n.Go},
	} {
		if d.before != d.after {
			lines = append(lines, fmt.Sprintf("not measured alike: %s was %q, is %q", d.what, d.before, d.after))
		}
	}
	for _, s := range m.Scenarios {
		i := slices.IndexFunc(n.Scenarios, func(o result.Scenario) bool { return o.Name == s.Name })
		if i >= 0 && (n.Scenarios[i].Load != s.Load || !slices.Equal(n.Scenarios[i].Env, s.Env)) {
			lines = append(lines, fmt.Sprintf("not measured alike: %s was %q, is %q", s.Name, s.Load, n.Scenarios[i].Load))
		}
	}
	for _, x := range m.Variants {
		i := slices.IndexFunc(n.Variants, func(o result.Variant) bool { return o.Name == x.Name })
		if i >= 0 && !slices.Equal(n.Variants[i].Env, x.Env) {
			lines = append(lines, fmt.Sprintf("not measured alike: %s was %q, is %q", x.Name, strings.Join(x.Env, " "), strings.Join(n.Variants[i].Env, " ")))
		}
	}
	return lines
}

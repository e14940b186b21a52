package report

import (
	"cmp"
	"fmt"
	"html"
	"slices"
	"strings"

	"github.com/tandem-ws/tandem/compare/result"
)

// markup is how a table's cells are written: plain text, or HTML.
type markup bool

const (
	plain markup = false
	page  markup = true
)

// text is s as it stands.
func (m markup) text(s string) string {
	if m == page {
		return html.EscapeString(s)
	}
	return s
}

// mark returns s in a class of the page's style sheet. The words must say everything,
// because plain text has no classes.
func (m markup) mark(class, s string) string {
	if m == page && s != "" {
		return `<span class="` + class + `">` + m.text(s) + `</span>`
	}
	return m.text(s)
}

// row marks the name of a row, with what is said about it below.
func (m markup) row(name, note string) string {
	if note == "" {
		return m.mark("name", name)
	}
	if m == plain {
		return name + ", " + note
	}
	return m.mark("name", name) + "\n" + m.mark("note", note)
}

// figure is a figure in a cell, flawed runs marked.
func (m markup) figure(f result.Figure, metric result.Metric) string {
	if !f.Have() {
		return m.mark("none", "-")
	}
	s := m.mark("median", amount(f.Median, metric.Unit))
	if r := span(f, metric.Unit); r != "" {
		between := "\n"
		if m == page {
			between = " "
		}
		s += between + m.mark("range", "("+r+")")
	}
	if f.Unsound > 0 {
		s += "\n" + m.mark("loss", fmt.Sprintf("FLAWED: %d of %s", f.Unsound, count(len(f.Values), "run")))
	}
	return s
}

// judged is a figure and, below it, its comparison with that of the base.
func (m markup) judged(metric result.Metric, base, f result.Figure) string {
	s := m.figure(f, metric)
	if j := judge(metric, base, f); j.says != "" {
		s += "\n" + m.mark(j.class, j.says)
	}
	return s
}

// of puts the name of a variant before its cell, for screens too narrow for columns.
func (m markup) of(variant, cell string) string {
	if m == plain {
		return cell
	}
	return `<span class="who">` + m.text(variant) + `</span><span class="cell">` + cell + `</span>`
}

// judgement is the comparison of one figure with another.
type judgement struct {
	verdict     result.Verdict
	class, says string
}

// judge compares f with base. Figures of flawed runs are compared but not judged,
// because what was not delivered did not cost anything.
func judge(metric result.Metric, base, f result.Figure) judgement {
	v := result.Judge(metric, base, f)
	by := change(result.Ratio(base, f))
	add := func(word string) string { return strings.TrimPrefix(by+": "+word, ": ") }
	switch {
	case v == result.None || metric.Plain:
		return judgement{verdict: result.None}
	case base.Unsound > 0 || f.Unsound > 0:
		return judgement{v, "loss", "not judged: flawed runs"}
	case v == result.Noise && base.Median == f.Median:
		return judgement{v, "noise", "the same"}
	case v == result.Noise:
		return judgement{v, "noise", add("within the noise")}
	case v == result.Unknown:
		return judgement{v, "noise", add("single run, noise unknown")}
	case v == result.Better:
		return judgement{v, "better", add("better")}
	}
	return judgement{v, "worse", add("worse")}
}

// bound returns what limited the runs of a point, for each variant if they differ.
func (r *Report) bound(p *result.Point) string {
	var all []string
	seen := make(map[string][]string)
	for _, a := range r.variants {
		samples := p.Samples(a)
		if len(samples) == 0 {
			continue
		}
		b := commonest(samples)
		if !slices.Contains(all, b) {
			all = append(all, b)
		}
		seen[b] = append(seen[b], a)
	}
	if len(all) == 1 {
		return boundSays(all[0])
	}
	// the one that bounded most variants comes last, for "others"
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(len(seen[a]), len(seen[b])) })
	for i, b := range all {
		who := strings.Join(seen[b], ", ")
		if i == len(all)-1 && len(seen[b]) > 1 {
			who = "others"
		}
		all[i] = who + ": " + boundSays(b)
	}
	return strings.Join(all, ";\n")
}

func commonest(samples []*result.Sample) string {
	n := make(map[string]int)
	for _, s := range samples {
		n[s.Bound]++
	}
	bounds := make([]string, 0, len(n))
	for b := range n {
		bounds = append(bounds, b)
	}
	return slices.MaxFunc(bounds, func(a, b string) int {
		return cmp.Or(cmp.Compare(n[a], n[b]), cmp.Compare(b, a))
	})
}

func boundSays(b string) string {
	switch b {
	case result.BoundRate:
		return "nothing but the offered load"
	case result.BoundLoad:
		return "load CPU (the generator, not the server)"
	case result.BoundOthers:
		return "other programs (disturbed)"
	}
	return b
}

// count is "1 run", "2 runs".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return thousands(fmt.Sprint(n)) + " " + thing + "s"
}

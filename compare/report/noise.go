package report

import (
	"slices"
	"strings"

	"github.com/tandem-ws/tandem/compare/result"
)

// noiseHeader is the header of the column that beyondNoise fills.
const noiseHeader = "beyond the noise"

// beyondNoise says in which way the compared variant differs from the others by more
// than the noise, for one metric of one point. It is "" if that cannot be said of the
// metric, or if there is nothing to compare.
func (r *Report) beyondNoise(p *result.Point, metric result.Metric) string {
	own := r.compared()
	f := p.Figure(own, metric.ID)
	names := make(map[result.Verdict][]string)
	flawed := false
	for _, a := range r.variants {
		if a == own {
			continue
		}
		base := p.Figure(a, metric.ID)
		j := judge(metric, base, f)
		switch {
		case j.verdict == result.None:
		case base.Unsound > 0 || f.Unsound > 0:
			flawed = true
		default:
			names[j.verdict] = append(names[j.verdict], a)
		}
	}
	var parts []string
	for _, v := range []result.Verdict{result.Better, result.Worse} {
		if len(names[v]) > 0 {
			parts = append(parts, own+" "+v.String()+" than "+strings.Join(names[v], ", "))
		}
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, "; ")
	case flawed:
		return "not judged"
	case len(names[result.Unknown]) > 0:
		return "unknown"
	case len(names[result.Noise]) > 0:
		return "no"
	}
	return ""
}

// judges reports whether tables have a column for beyondNoise.
func (r *Report) judges() bool {
	return slices.ContainsFunc(r.variants, func(a string) bool { return a != r.compared() })
}

package result

import (
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// Figure is the values of a metric of one variant at one point, from all repeats.
type Figure struct {
	Values           []float64
	Median, Low, Top float64
	// Unsound counts the values of runs with flaws.
	Unsound int
}

// FigureOf returns the figure of these values. If there are none, its median is NaN.
func FigureOf(values []float64) Figure {
	f := Figure{Values: slices.Sorted(slices.Values(values))}
	n := len(f.Values)
	if n == 0 {
		f.Median, f.Low, f.Top = math.NaN(), math.NaN(), math.NaN()
		return f
	}
	f.Low, f.Top = f.Values[0], f.Values[n-1]
	f.Median = (f.Values[(n-1)/2] + f.Values[n/2]) / 2
	return f
}

// Have reports whether there is any value.
func (f Figure) Have() bool { return len(f.Values) > 0 }

// Verdict is the result of comparing two figures.
type Verdict int

// The verdicts. Unknown means one run each, so that the noise is unknown.
const (
	None Verdict = iota // a figure is missing
	Unknown
	Noise
	Better
	Worse
	Differs // the metric has no better
)

// String returns the verdict as tables show it.
func (v Verdict) String() string {
	return [...]string{"", "one run: noise unknown", "within the noise", "better", "worse", "differs"}[v]
}

const (
	alpha       = 0.05
	leastChange = 0.02 // of the median: less is not worth a word
	testedFrom  = 4    // values on each side for the Mann-Whitney test to have a say
)

// Judge compares b with a, the base. With four or more values on both sides, the
// Mann-Whitney U test decides (p < 0.05, as in benchstat); with two or three, the ranges
// must not overlap. Medians that differ by less than 2% or the metric's Floor are the
// same in any case.
func Judge(m Metric, a, b Figure) Verdict {
	switch {
	case !a.Have() || !b.Have():
		return None
	case len(a.Values) == 1 || len(b.Values) == 1:
		return Unknown
	}
	apart := math.Abs(b.Median - a.Median)
	if apart < m.Floor || apart < leastChange*math.Abs(a.Median) {
		return Noise
	}
	if len(a.Values) >= testedFrom && len(b.Values) >= testedFrom {
		thresholds := benchmath.DefaultThresholds
		thresholds.CompareAlpha = alpha
		c := benchmath.AssumeNothing.Compare(
			benchmath.NewSample(slices.Clone(a.Values), &thresholds),
			benchmath.NewSample(slices.Clone(b.Values), &thresholds))
		if c.P >= alpha {
			return Noise
		}
	} else if a.Low <= b.Top && b.Low <= a.Top {
		return Noise
	}
	switch {
	case m.Plain:
		return Differs
	case b.Median > a.Median == m.More:
		return Better
	}
	return Worse
}

// Ratio returns b's median over a's, or NaN if there is none.
func Ratio(a, b Figure) float64 {
	if !a.Have() || !b.Have() || a.Median == 0 {
		return math.NaN()
	}
	return b.Median / a.Median
}

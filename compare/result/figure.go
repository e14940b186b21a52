package result

import (
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// Figure is a metric of one arm at one point: the values of all repeats.
type Figure struct {
	Values           []float64
	Median, Low, Top float64
	// Unsound counts values of runs that have flaws.
	Unsound int
}

// FigureOf is the figure of these values; without any its median is NaN.
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

// Have says whether there is any value.
func (f Figure) Have() bool { return len(f.Values) > 0 }

// Verdict is what two figures say about each other.
type Verdict int

// The verdicts. Unknown: one run each, so that nobody knows the noise.
const (
	None Verdict = iota // a figure is missing
	Unknown
	Noise
	Better
	Worse
	Differs // the metric has no better
)

// String is how tables show it.
func (v Verdict) String() string {
	return [...]string{"", "one run: noise unknown", "within the noise", "better", "worse", "differs"}[v]
}

const (
	alpha       = 0.05
	leastChange = 0.02 // of the median: less is not worth a word
	testedFrom  = 4    // values on each side for the Mann-Whitney test to have a say
)

// Judge compares b with a, which is the base. With four or more values on both
// sides the Mann-Whitney U test decides (p < 0.05, as in benchstat); with two or
// three the ranges must not touch. Medians less than 2% or the metric's Floor
// apart are the same in any case.
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

// Ratio is b's median over a's; NaN where there is none.
func Ratio(a, b Figure) float64 {
	if !a.Have() || !b.Have() || a.Median == 0 {
		return math.NaN()
	}
	return b.Median / a.Median
}

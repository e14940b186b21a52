package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tandem-ws/tandem/compare/result"
)

// line is one variant's curve.
type line struct {
	variant string
	points  plotter.XYs
	errors  plotter.YErrors // of each point, where there are any
	marks   plotter.XYs     // where shapes are drawn; nil: on every point
}

func (r *Report) addLines(c *chart, lines []line) error {
	p := c.plot
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = nil, grid
	g.Horizontal.Dashes, g.Horizontal.Width = nil, 1
	p.Add(g)
	for _, l := range lines {
		t := r.tones[l.variant]
		curve, err := plotter.NewLine(l.points)
		if err != nil {
			return fmt.Errorf("report: draw %s: %w", c.name, err)
		}
		curve.LineStyle = draw.LineStyle{Color: t.color, Width: 2, Dashes: t.dashes}
		marks := l.marks
		if marks == nil {
			marks = l.points
		}
		shapes, err := plotter.NewScatter(marks)
		if err != nil {
			return fmt.Errorf("report: draw %s: %w", c.name, err)
		}
		shapes.GlyphStyle = draw.GlyphStyle{Color: t.color, Radius: 4.2, Shape: t.shape}
		p.Add(curve)
		if l.errors != nil {
			bars, err := plotter.NewYErrorBars(struct {
				plotter.XYs
				plotter.YErrors
			}{l.points, l.errors})
			if err != nil {
				return fmt.Errorf("report: draw %s: %w", c.name, err)
			}
			bars.LineStyle = draw.LineStyle{Color: t.color, Width: 1.2}
			bars.CapWidth = 7
			p.Add(bars)
		}
		p.Add(shapes)
		c.legend = append(c.legend, entry{l.variant, []plot.Thumbnailer{curve, shapes}})
	}
	return nil
}

// overX shows a metric over the X of several points; nil where there are fewer
// than two.
func (r *Report) overX(name string, points []*result.Point, metric result.Metric, x string) (*chart, error) {
	var lines []line
	biggest := 0.0
	for _, a := range r.variants {
		l := line{variant: a}
		for _, p := range points {
			if f := p.Figure(a, metric.ID); f.Have() {
				l.points = append(l.points, plotter.XY{X: p.X, Y: f.Median})
				l.errors = append(l.errors, struct{ Low, High float64 }{f.Median - f.Low, f.Top - f.Median})
				biggest = math.Max(biggest, f.Top)
			}
		}
		if len(l.points) > 1 {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		return nil, nil
	}
	by, unit := scale(metric.Unit, biggest)
	c := &chart{
		name: name, title: upper(metric.Name), plot: newPlot(), width: chartWidth, high: chartHigh,
		about: strings.TrimSpace(unit+" over "+x) + "; bars: range of the runs",
		alt:   fmt.Sprintf("%s over %s: %s", metric.Name, x, r.saysLast(points[len(points)-1], metric)),
	}
	for _, l := range lines {
		for i := range l.points {
			l.points[i].Y /= by
			l.errors[i].Low /= by
			l.errors[i].High /= by
		}
	}
	if err := r.addLines(c, lines); err != nil {
		return nil, err
	}
	c.plot.Y.Min = math.Min(0, c.plot.Y.Min)
	c.plot.Y.Max = biggest / by * 1.06
	c.plot.X.Min = 0
	var at []plot.Tick
	for _, p := range points {
		at = append(at, plot.Tick{Value: p.X, Label: exactly(p.X)})
	}
	c.plot.X.Tick.Marker = plot.ConstantTicks(apart(at, c.plot.X.Max))
	return c, nil
}

// apart leaves out labels that would touch the one before.
func apart(ticks []plot.Tick, most float64) []plot.Tick {
	last := math.Inf(-1)
	for i := range ticks {
		if ticks[i].Value-last < most*0.1 {
			ticks[i].Label = ""
			continue
		}
		last = ticks[i].Value
	}
	return ticks
}

func (r *Report) saysLast(p *result.Point, metric result.Metric) string {
	var parts []string
	for _, a := range r.variants {
		if f := p.Figure(a, metric.ID); f.Have() {
			parts = append(parts, a+" "+spread(f, metric.Unit))
		}
	}
	return strings.TrimPrefix(p.Name+": ", ": ") + strings.Join(parts, "; ")
}

// curve shows the percentiles of merged histograms; nil where no variant has one.
func (r *Report) curve(name, title string, of func(variant string) (*hdrhistogram.Histogram, error)) (*chart, error) {
	c := &chart{
		name: name, title: title, about: "ms at each percentile, both axes logarithmic; all runs merged",
		plot: newPlot(), width: chartWidth, high: chartHigh,
	}
	var lines []line
	var says []string
	least, most, last := math.Inf(1), 0.0, 0.0
	for _, a := range r.variants {
		h, err := of(a)
		if err != nil {
			return nil, fmt.Errorf("report: latency of %s: %w", a, err)
		}
		if h == nil || h.TotalCount() == 0 {
			continue
		}
		l := line{variant: a}
		end := math.Max(math.Log10(float64(h.TotalCount())), 1)
		end = math.Min(end, 5)
		at := func(x float64) plotter.XY {
			v := math.Max(float64(h.ValueAtPercentile(100*(1-math.Pow(10, -x))))/1e6, 0.001)
			least, most = math.Min(least, v), math.Max(most, v)
			return plotter.XY{X: x, Y: v}
		}
		for x := 0.0; x < end; x += 0.04 {
			l.points = append(l.points, at(x))
		}
		l.points = append(l.points, at(end))
		l.marks = append(l.marks, at(math.Log10(2)))
		for x := 1.0; x <= end; x++ {
			l.marks = append(l.marks, at(x))
		}
		last = math.Max(last, end)
		lines = append(lines, l)
		says = append(says, fmt.Sprintf("%s p50 %s ms, p99 %s ms", a, number(float64(h.ValueAtPercentile(50))/1e6), number(float64(h.ValueAtPercentile(99))/1e6)))
	}
	if len(lines) == 0 {
		return nil, nil
	}
	c.alt = title + ": " + strings.Join(says, "; ")
	if err := r.addLines(c, lines); err != nil {
		return nil, err
	}
	c.plot.Y.Scale, c.plot.Y.Tick.Marker = plot.LogScale{}, logTicks{plainly}
	c.plot.Y.Min, c.plot.Y.Max = least/1.15, most*1.15
	if most/least < 4 { // a flat curve is not to look steep
		middle := math.Sqrt(most * least)
		c.plot.Y.Min, c.plot.Y.Max = middle/2.2, middle*2.2
	}
	c.plot.X.Min, c.plot.X.Max = 0, last
	var ticks []plot.Tick
	for _, t := range []plot.Tick{{Value: 0, Label: "0"}, {Value: math.Log10(2), Label: "50"}, {Value: 1, Label: "90"}, {Value: 2, Label: "99"},
		{Value: 3, Label: "99.9"}, {Value: 4, Label: "99.99"}, {Value: 5, Label: "99.999%"}} {
		if t.Value <= last {
			ticks = append(ticks, t)
		}
	}
	c.plot.X.Tick.Marker = plot.ConstantTicks(ticks)
	return c, nil
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

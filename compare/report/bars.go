package report

import (
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tandem-ws/tandem/compare/result"
)

// nameAlign puts the middle of small letters beside the middle of a bar.
const nameAlign = text.YAlignment(-0.62)

// bars shows one metric of one point: a bar a variant, a ring a run; nil where no variant
// has it.
func (r *Report) bars(name, title string, p *result.Point, metric result.Metric) (*chart, error) {
	c := &chart{name: name, title: title, plot: newPlot(), width: chartWidth, about: "median; rings: single runs"}
	if err := r.addBars(c.plot, p, metric, c.width-2*margin, true); err != nil {
		return nil, err
	}
	if c.plot.Y.Tick.Marker == nil {
		return nil, nil
	}
	rows := 0
	for _, a := range r.variants {
		if p.Figure(a, metric.ID).Have() {
			rows++
		}
	}
	if rows == 0 {
		return nil, nil
	}
	c.high = titleHigh + 16 + vg.Length(rows)*44
	c.alt = title + ": " + r.saysLast(p, metric)
	return c, nil
}

// addBars draws the bars of the variants, the first on top, each with its figure
// beside it, on a plot of that width.
func (r *Report) addBars(p *plot.Plot, at *result.Point, metric result.Metric, full vg.Length, runs bool) error {
	type bar struct {
		variant string
		f       result.Figure
	}
	var list []bar
	least, most := 0.0, 0.0
	for _, a := range r.variants {
		if f := at.Figure(a, metric.ID); f.Have() {
			list = append(list, bar{a, f})
			least, most = math.Min(least, f.Low), math.Max(most, f.Top)
		}
	}
	if most == least {
		most = 1
	}
	look := style(12, false, ink)
	look.YAlign = text.YCenter
	width := full
	for _, b := range list {
		width = min(width, full-look.Width(b.variant)-8)
	}
	var names []plot.Tick
	for i, b := range list {
		y := float64(len(list) - 1 - i)
		names = append(names, plot.Tick{Value: y, Label: b.variant})
		t := r.tones[b.variant]
		chart, err := plotter.NewBarChart(plotter.Values{b.f.Median}, 20)
		if err != nil {
			return err
		}
		chart.Horizontal, chart.XMin, chart.Color = true, y, t.color
		chart.LineStyle = draw.LineStyle{Color: t.color, Width: 1}
		p.Add(chart)
		right := math.Max(b.f.Median, 0)
		if runs && len(b.f.Values) > 1 {
			var xy plotter.XYs
			for _, v := range b.f.Values {
				xy = append(xy, plotter.XY{X: v, Y: y})
				right = math.Max(right, v)
			}
			rings, err := plotter.NewScatter(xy)
			if err != nil {
				return err
			}
			rings.GlyphStyle = draw.GlyphStyle{Color: ink, Radius: 3, Shape: draw.RingGlyph{}}
			p.Add(rings)
		}
		says := spread(b.f, metric.Unit)
		if b.f.Unsound > 0 {
			says += ", FLAWED"
		}
		label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: right, Y: y}}, Labels: []string{says}})
		if err != nil {
			return err
		}
		label.TextStyle[0] = look
		label.Offset = vg.Point{X: 7, Y: 1.5}
		p.Add(label)
		// so far that there is room for the figure
		if left := width - look.Width(says) - 12; left > 0 {
			most = math.Max(most, least+(right-least)*float64(width/left))
		}
	}
	p.Y.Tick.Marker = plot.ConstantTicks(names)
	p.Y.Tick.Label.Color = ink
	p.Y.Tick.Label.YAlign = nameAlign
	p.Y.Tick.Length = 0
	p.Y.Padding = 0
	p.Y.Min, p.Y.Max = -0.5, float64(len(list))-0.5
	p.X.Min, p.X.Max = least, most
	p.X.Tick.Marker = plot.ConstantTicks(nil)
	p.X.Width = 0
	return nil
}

// chart of the ledger: what the article reckons and what each variant holds, stacked
// by item.
func (l *ledger) chart() (*chart, error) {
	rows := []string{"the article"}
	for _, a := range l.r.variants {
		if l.point.Figure(a, result.LedgerTotal).Have() {
			rows = append(rows, a)
		}
	}
	c := &chart{
		name: "ledger", title: "What one connection holds, item by item", about: "KB of user memory",
		plot: newPlot(), width: 2*chartWidth + 20, alt: l.says(),
	}
	p := c.plot
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = grid, nil
	g.Vertical.Dashes, g.Vertical.Width = nil, 1
	p.Add(g)
	var below *plotter.BarChart
	var inside []segment
	most := make([]float64, len(rows))
	used := 0
	for i, item := range result.Ledger {
		if item.ID == result.LedgerTotal {
			break
		}
		values := make(plotter.Values, len(rows))
		some := false
		for n, row := range rows {
			v := item.Article
			if n > 0 {
				v = l.point.Figure(row, item.ID).Median
			}
			if !(v > 0) { // negative: within the noise of the reading; NaN: not told
				v = 0
			}
			values[len(rows)-1-n] = v / kilo
			inside = append(inside, segment{item.Name, most[n], v / kilo, float64(len(rows) - 1 - n), i%2 == 1 || i == 8})
			most[n] += v / kilo
			some = some || v > 0
		}
		if !some {
			continue
		}
		bar, err := plotter.NewBarChart(values, 26)
		if err != nil {
			return nil, err
		}
		bar.Horizontal, bar.Color = true, palette[i%len(palette)][0]
		bar.LineStyle = draw.LineStyle{Color: card, Width: 0.8}
		if below != nil {
			bar.StackOn(below)
		}
		below = bar
		p.Add(bar)
		c.legend = append(c.legend, entry{item.Name, []plot.Thumbnailer{bar}})
		used++
	}
	if below == nil {
		return nil, nil
	}
	var names []plot.Tick
	biggest := 0.0
	for n, row := range rows {
		y := float64(len(rows) - 1 - n)
		names = append(names, plot.Tick{Value: y, Label: row})
		biggest = math.Max(biggest, most[n])
		total := 0.0
		if n == 0 {
			total = most[n] * kilo
		} else {
			total = l.point.Figure(row, result.LedgerTotal).Median
		}
		label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: most[n], Y: y}}, Labels: []string{amount(total, "B")}})
		if err != nil {
			return nil, err
		}
		label.TextStyle[0] = style(13, true, ink)
		label.TextStyle[0].YAlign = text.YCenter
		label.Offset = vg.Point{X: 7, Y: 1.5}
		p.Add(label)
	}
	if err := addNames(p, inside, (c.width-110)/vg.Length(biggest*1.1)); err != nil {
		return nil, err
	}
	p.Y.Tick.Marker, p.Y.Tick.Label.Color, p.Y.Tick.Length = plot.ConstantTicks(names), ink, 0
	p.Y.Width = 0
	p.Y.Tick.Label.YAlign = nameAlign
	p.Y.Min, p.Y.Max = -0.5, float64(len(rows))-0.5
	p.X.Min, p.X.Max = 0, biggest*1.1
	c.high = titleHigh + 2*legendHigh + vg.Length(len(rows))*40 + 30
	if used == 0 {
		return nil, nil
	}
	return c, nil
}

// segment is one item of a stacked bar.
type segment struct {
	name     string
	from, by float64
	y        float64
	pale     bool // its colour is
}

// addNames writes the names of those segments into them that are wide enough; a
// unit of X is that wide.
func addNames(p *plot.Plot, list []segment, unit vg.Length) error {
	for _, s := range list {
		c := rgb(0xffffff)
		if s.pale {
			c = rgb(0x10141e)
		}
		look := style(11, false, c)
		if look.Width(s.name)+8 > unit*vg.Length(s.by) {
			continue
		}
		label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: s.from + s.by/2, Y: s.y}}, Labels: []string{s.name}})
		if err != nil {
			return err
		}
		look.XAlign, look.YAlign = text.XCenter, text.YCenter
		label.TextStyle[0] = look
		label.Offset = vg.Point{Y: 1.5}
		p.Add(label)
	}
	return nil
}

func (l *ledger) says() string {
	parts := []string{"User memory of one connection: the article " + amount(24*kilo, "B")}
	for _, a := range l.r.variants {
		if f := l.point.Figure(a, result.LedgerTotal); f.Have() {
			parts = append(parts, a+" "+spread(f, "B"))
		}
	}
	return strings.Join(parts, "; ")
}

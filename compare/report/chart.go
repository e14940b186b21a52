package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"regexp"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is a drawing with its title. It is drawn when it is asked for, in the
// colours of the package, which a theme then replaces.
type chart struct {
	name        string // of its file
	title       string
	about       string // below the title: what the axes mean
	alt         string // the same as a sentence, for those who do not see it
	plot        *plot.Plot
	legend      []entry
	width, high vg.Length
}

// entry is a line of a legend.
type entry struct {
	name  string
	thumb []plot.Thumbnailer
}

const (
	chartWidth = vg.Length(400)
	chartHigh  = vg.Length(280)
	titleHigh  = vg.Length(38)
	legendHigh = vg.Length(20)
	margin     = vg.Length(2)
)

func sans(size vg.Length, bold bool) font.Font {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return f
}

func style(size vg.Length, bold bool, c color.Color) text.Style {
	return text.Style{Font: sans(size, bold), Color: c, Handler: plot.DefaultTextHandler, XAlign: text.XLeft, YAlign: text.YBottom}
}

// newPlot is an empty plot in the package's style.
func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color = grid
		a.Width = 1
		a.Padding = 0
		a.Tick.Color = grid
		a.Tick.Width = 1
		a.Tick.Length = 3
		a.Tick.Label.Font, a.Tick.Label.Color = sans(12, false), soft
		a.Label.TextStyle.Font, a.Label.TextStyle.Color = sans(12, false), soft
		a.Label.Padding = 2
		a.Tick.Marker = niceTicks{}
	}
	return p
}

// niceTicks are about five steps of 1, 2 or 5 times a power of ten.
type niceTicks struct{}

// Ticks implements plot.Ticker.
func (niceTicks) Ticks(from, to float64) (ticks []plot.Tick) {
	if !(to > from) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10((to-from)/4)))
	for _, by := range []float64{5, 2} {
		if (to-from)/(step*by) >= 3.5 {
			step *= by
			break
		}
	}
	for i := math.Ceil(from / step); i*step <= to; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: plainly(i * step)})
	}
	return ticks
}

// logTicks are 1, 2 and 5 of every power of ten; few of them where there are
// many powers.
type logTicks struct{ show func(float64) string }

// Ticks implements plot.Ticker.
func (l logTicks) Ticks(from, to float64) (ticks []plot.Tick) {
	steps := []float64{1, 2, 5}
	if to/from > 3000 {
		steps = steps[:1]
	}
	for e := math.Floor(math.Log10(from)); e <= math.Ceil(math.Log10(to)); e++ {
		for _, s := range steps {
			if v := s * math.Pow(10, e); v >= from*0.999 && v <= to*1.001 {
				ticks = append(ticks, plot.Tick{Value: v, Label: l.show(v)})
			}
		}
	}
	return ticks
}

// draw draws title, legend and plot.
func (c *chart) draw(dc draw.Canvas) {
	dc = draw.Crop(dc, margin, -margin, margin, 0)
	y := dc.Max.Y
	dc.FillText(style(14, true, ink), vg.Point{X: dc.Min.X, Y: y - 17}, c.title)
	dc.FillText(style(12, false, soft), vg.Point{X: dc.Min.X, Y: y - 33}, c.about)
	y -= titleHigh
	if len(c.legend) > 0 {
		x := dc.Min.X
		for _, e := range c.legend {
			l := plot.NewLegend()
			l.TextStyle = style(12, false, ink)
			l.ThumbnailWidth = 26
			l.Left, l.Top = true, true
			l.Add(e.name, e.thumb...)
			wide := l.ThumbnailWidth + l.TextStyle.Width("  "+e.name)
			if x > dc.Min.X && x+wide > dc.Max.X {
				x, y = dc.Min.X, y-legendHigh
			}
			l.Draw(draw.Canvas{Canvas: dc.Canvas, Rectangle: vg.Rectangle{
				Min: vg.Point{X: x, Y: y - legendHigh}, Max: vg.Point{X: dc.Max.X, Y: y},
			}})
			x += wide + 14
		}
		y -= legendHigh + 4
	}
	dc.Max.Y = y
	c.plot.Draw(dc)
}

var family = regexp.MustCompile(`font-family:[^;]+;font-variant:[^;]+;`)

// fonts lists the font that the charts are laid out with and common ones with the
// same widths. A reader may have none of them: see textCanvas.
const fonts = "font-family:'Liberation Sans',Arimo,Helvetica,Arial,sans-serif;"

var root = regexp.MustCompile(`(?s)^.*?<svg width="[^"]*" height="[^"]*"`)

// textCanvas records the width of every string that it draws, so that the string
// can be fitted to the room that the layout gave it, whatever font it is shown in.
type textCanvas struct {
	*vgsvg.Canvas
	widths []vg.Length
}

// FillString implements vg.Canvas.
func (c *textCanvas) FillString(f font.Face, at vg.Point, s string) {
	c.widths = append(c.widths, f.Width(s))
	c.Canvas.FillString(f, at, s)
}

// fitText gives every text element of svg the width that it was laid out with. A
// renderer with another font scales the glyphs.
func (c *textCanvas) fitText(svg string) string {
	parts := strings.Split(svg, "<text ")
	for i, width := range c.widths {
		parts[i+1] = fmt.Sprintf(`textLength="%.2f" lengthAdjust="spacingAndGlyphs" `, width.Points()) + parts[i+1]
	}
	return strings.Join(parts, "<text ")
}

// svg draws something of that size; attributes are put into the root element.
func svg(width, high vg.Length, t theme, attributes, inside string, paint func(draw.Canvas)) ([]byte, error) {
	canvas := &textCanvas{Canvas: vgsvg.New(width, high)}
	paint(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("report: draw: %w", err)
	}
	s := family.ReplaceAllString(canvas.fitText(b.String()), fonts)
	s = root.ReplaceAllString(s, `<svg `+attributes)
	if inside != "" {
		s = strings.Replace(s, ">", ">"+inside, 1)
	}
	return []byte(t.apply(s)), nil
}

// inline is the chart for the page.
func (c *chart) inline() ([]byte, error) {
	return svg(c.width, c.high, inPage, `class="chart" role="img" aria-label="`+markup(page).text(c.alt)+`"`, "", c.draw)
}

// standalone is the chart as a file, on a ground of its own.
func (c *chart) standalone(t theme) ([]byte, error) {
	const edge = 12
	width, high := c.width+2*edge, c.high+2*edge
	return svg(width, high, t, size(width, high), "<title>"+markup(page).text(c.alt)+"</title>", func(dc draw.Canvas) {
		ground(dc)
		c.draw(draw.Crop(dc, edge, -edge, edge, -edge))
	})
}

func size(width, high vg.Length) string {
	return fmt.Sprintf(`width="%.0f" height="%.0f"`, width.Points(), high.Points())
}

func ground(dc draw.Canvas) {
	dc.SetColor(card)
	dc.Fill(dc.Rectangle.Path())
}

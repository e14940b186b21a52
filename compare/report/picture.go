package report

import (
	"bytes"
	"fmt"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// named is a file to be written.
type named struct {
	name  string
	bytes []byte
}

const (
	pictureWidth = vg.Length(880)
	pictureTop   = vg.Length(64)
)

// picture shows the summary in one: small bars for every figure, and how the variants
// stand to each other. It is drawn for light and dark pages, and as pixels; there
// is none where nothing of the summary was measured.
func (r *Report) picture() (files []named, err error) {
	list := r.summary()
	if len(list) == 0 {
		return nil, nil
	}
	columns := min(2, len(list))
	rows := (len(list) + columns - 1) / columns
	panel := 44 + vg.Length(len(r.variants))*30
	high := pictureTop + vg.Length(rows)*(panel+18) + 8
	var failed error
	paint := func(dc draw.Canvas) {
		ground(dc)
		dc = draw.Crop(dc, 24, -24, 0, 0)
		m := &r.folder.Manifest
		dc.FillText(style(19, true, ink), vg.Point{X: dc.Min.X, Y: dc.Max.Y - 34}, "What each design costs")
		dc.FillText(style(12, false, soft), vg.Point{X: dc.Min.X, Y: dc.Max.Y - 53},
			fmt.Sprintf("%s, %s %s, %s; median (range) of up to %s; shorter is better", m.Host.CPU, m.Host.OS, m.Host.Kernel, m.Go, count(r.repeats(), "run")))
		wide := (dc.Max.X - dc.Min.X - 36*vg.Length(columns-1)) / vg.Length(columns)
		for i, s := range list {
			x := dc.Min.X + vg.Length(i%columns)*(wide+36)
			top := dc.Max.Y - pictureTop - vg.Length(i/columns)*(panel+18)
			at := draw.Canvas{Canvas: dc.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: x, Y: top - panel}, Max: vg.Point{X: x + wide, Y: top}}}
			if err := r.panel(at, s); err != nil && failed == nil {
				failed = err
			}
		}
	}
	alt := "<title>" + markup(page).text("What each design costs: "+r.pictureSays(list)) + "</title>"
	for _, t := range []struct {
		name  string
		theme theme
	}{{PictureFile, light}, {DarkFile, dark}} {
		b, err := svg(pictureWidth, high, t.theme, size(pictureWidth, high), alt, paint)
		if err != nil {
			return nil, err
		}
		files = append(files, named{t.name, b})
	}
	canvas := vgimg.NewWith(vgimg.UseWH(pictureWidth, high), vgimg.UseDPI(144))
	paint(draw.New(canvas))
	var b bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&b); err != nil {
		return nil, fmt.Errorf("report: draw: %w", err)
	}
	return append(files, named{PixelFile, b.Bytes()}), failed
}

// panel draws one figure of the summary.
func (r *Report) panel(dc draw.Canvas, s shown) error {
	p := newPlot()
	if err := r.addBars(p, s.point, s.metric, dc.Max.X-dc.Min.X, false); err != nil {
		return err
	}
	dc.FillText(style(14, true, ink), vg.Point{X: dc.Min.X, Y: dc.Max.Y - 18}, upper(s.what))
	if says, _ := r.ratio(s); says != "" {
		right := style(12, false, soft)
		right.XAlign = text.XRight
		dc.FillText(right, vg.Point{X: dc.Max.X, Y: dc.Max.Y - 18}, r.compared()+": "+says)
	}
	at := dc
	at.Max.Y -= 26
	p.Draw(at)
	return nil
}

func (r *Report) pictureSays(list []shown) string {
	var b bytes.Buffer
	for _, s := range list {
		fmt.Fprintf(&b, "%s: %s. ", s.what, r.saysLast(s.point, s.metric))
	}
	return b.String()
}

package report

import (
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Colours that charts are drawn in. Those of variants and of the ledger's items are of
// the Okabe-Ito palette, which the colour-blind can tell apart; shape, dash or a
// label says the same again.
var (
	ink  = rgb(0x161a25)
	soft = rgb(0x565f73)
	grid = rgb(0xe1e4ee)
	card = rgb(0xfffffe)
)

func rgb(v uint32) color.NRGBA {
	return color.NRGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 0xff}
}

func hex(c color.Color) string {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return fmt.Sprintf("#%02X%02X%02X", n.R, n.G, n.B)
}

// tone is how a variant looks.
type tone struct {
	color, dark color.NRGBA
	shape       draw.GlyphDrawer
	dashes      []vg.Length
	class       int // of the page's style sheet
}

var tones = []tone{
	{rgb(0xd55e00), rgb(0xe69f00), draw.CircleGlyph{}, nil, 0},
	{rgb(0xa8467f), rgb(0xe08fbf), draw.BoxGlyph{}, []vg.Length{6, 3}, 1},
	{rgb(0x0072b2), rgb(0x56b4e9), draw.PyramidGlyph{}, nil, 2},
	{rgb(0x00795a), rgb(0x2fc59b), draw.SquareGlyph{}, []vg.Length{2, 3}, 3},
	{rgb(0x6b5d00), rgb(0xf0e442), draw.RingGlyph{}, []vg.Length{8, 3, 2, 3}, 4},
	{rgb(0x4a4a4b), rgb(0xb8b8b9), draw.CrossGlyph{}, []vg.Length{1, 2}, 5},
}

// known variants look the same in every report.
var known = map[string]int{"idiomatic": 0, "idiomatic-tuned": 1, "optimized": 2}

// tonesOf gives every variant a look: known ones theirs, others what is left, in
// turn.
func tonesOf(variants []string) map[string]tone {
	of := make(map[string]tone)
	var left []int
	for i := range tones {
		if !slices.ContainsFunc(variants, func(a string) bool { n, ok := known[a]; return ok && n == i }) {
			left = append(left, i)
		}
	}
	if len(left) == 0 {
		left = []int{len(tones) - 1}
	}
	next := 0
	for _, a := range variants {
		n, ok := known[a]
		if !ok {
			n = left[next%len(left)]
			next++
		}
		of[a] = tones[n]
	}
	return of
}

// palette are the colours of the ledger's items, light and dark; neighbours
// differ in lightness too.
var palette = [][2]color.NRGBA{
	{rgb(0x0072b3), rgb(0x3f97d3)}, {rgb(0x8fcdf2), rgb(0xa9dcfa)}, {rgb(0xc45700), rgb(0xe07d2e)},
	{rgb(0xf2b84b), rgb(0xffd27a)}, {rgb(0x00735a), rgb(0x1fa585)}, {rgb(0x8bd3bd), rgb(0xa5e6d3)},
	{rgb(0x96407a), rgb(0xc06aa0)}, {rgb(0xe3b3d1), rgb(0xf0cde2)}, {rgb(0x5c5f66), rgb(0x83878f)},
	{rgb(0xc4c7ce), rgb(0xd5d8de)},
}

// theme turns the colours that charts are drawn in into those that are shown.
type theme map[string]string

var (
	// light leaves them as they are.
	light = theme{}
	// dark is for pictures that stand on their own.
	dark = theme{hex(ink): "#E9ECF5", hex(soft): "#9AA4BA", hex(grid): "#273041", hex(card): "#151A24"}
	// inPage leaves them to the page's style sheet, which knows light, dark and
	// paper.
	inPage = theme{hex(ink): "var(--text)", hex(soft): "var(--soft)", hex(grid): "var(--line)", hex(card): "var(--card)"}
)

func init() {
	for i, t := range tones {
		dark[hex(t.color)] = hex(t.dark)
		inPage[hex(t.color)] = fmt.Sprintf("var(--variant%d)", i)
	}
	for i, p := range palette {
		dark[hex(p[0])] = hex(p[1])
		inPage[hex(p[0])] = fmt.Sprintf("var(--item%d)", i)
	}
}

// apply puts the theme's colours in place of those that were drawn.
func (t theme) apply(svg string) string {
	var pairs []string
	for from, to := range t {
		pairs = append(pairs, from, to)
	}
	return strings.NewReplacer(pairs...).Replace(svg)
}

// variables declare the colours of the style sheet.
func variables(night bool) string {
	var b strings.Builder
	pick := func(day, dark color.NRGBA) string {
		if night {
			return hex(dark)
		}
		return hex(day)
	}
	for i, t := range tones {
		fmt.Fprintf(&b, "--variant%d:%s;", i, pick(t.color, t.dark))
	}
	for i, p := range palette {
		fmt.Fprintf(&b, "--item%d:%s;", i, pick(p[0], p[1]))
	}
	return b.String()
}

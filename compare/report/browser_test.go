package report

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/tandem-ws/tandem/compare/browsertest"
	"github.com/tandem-ws/tandem/compare/result"
)

// families are fonts that the page must look right in: narrow and wide ones. One
// that is not installed is replaced by the browser's own, so that every machine
// tests several.
var families = []string{"", "Liberation Sans", "DejaVu Sans", "serif", "monospace", "DejaVu Sans Mono"}

// fontScript defines what the tests of fonts need: setFamily shows the whole page
// in a font, "" its own, with letters far apart where it is monospace, as wide as
// no font is; cutOff and overlapping return the labels of charts that end beyond
// the chart or run into each other.
const fontScript = `
const override = document.head.appendChild(document.createElement("style"));
globalThis.setFamily = (family) => {
  override.textContent = family && "*, svg.chart text { font-family: '" + family + "' !important; }"
    .replace(/'(serif|monospace)'/, "$1") + (family === "monospace" ? "svg.chart text { letter-spacing: 2px; }" : "");
  return true;
};
const charts = () => [...document.querySelectorAll("svg.chart")].map((s) => ({
  edge: s.getBoundingClientRect(),
  labels: [...s.querySelectorAll("text")].map((x) => ({text: x.textContent, box: x.getBoundingClientRect()})).filter((x) => x.text.trim()),
}));
globalThis.cutOff = () => charts().flatMap(({edge, labels}) =>
  labels.filter(({box}) => box.left < edge.left - 2 || box.right > edge.right + 2).map((x) => x.text));
globalThis.overlapping = () => charts().flatMap(({labels}) => labels.flatMap((a, i) => labels.slice(i + 1)
  .filter((b) => a.box.left < b.box.right - 1 && b.box.left < a.box.right - 1
    && Math.abs((a.box.top + a.box.bottom) - (b.box.top + b.box.bottom)) < a.box.height / 2)
  .map((b) => a.text + " / " + b.text)));
true`

// TestPageInBrowser looks at the page as people do: on a screen, on a phone, in
// the dark, on paper.
func TestPageInBrowser(t *testing.T) {
	path := folder(t, lossy)
	r := read(t, path)
	if _, err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	all, err := r.content()
	if err != nil {
		t.Fatal(err)
	}
	b := browsertest.Open(t)
	b.Do(chromedp.Navigate((&url.URL{Scheme: "file", Path: filepath.Join(path, result.ReportFile)}).String()))
	browsertest.Eval[bool](b, fontScript)
	is := func(what, expression string) {
		t.Helper()
		if !browsertest.Eval[bool](b, expression) {
			t.Errorf("%s: %s is false", what, expression)
		}
	}
	for _, family := range families {
		browsertest.Eval[bool](b, fmt.Sprintf("setFamily(%q)", family))
		for _, width := range []int64{390, 1280} {
			what := fmt.Sprintf("%d wide, in %s", width, family)
			b.Do(chromedp.EmulateViewport(width, 900))
			b.Media("", "light")
			is(what, "document.documentElement.scrollWidth <= innerWidth")
			if n := browsertest.Eval[int](b, "document.querySelectorAll('svg.chart').length"); n != len(all.charts()) || n < 8 {
				t.Errorf("%s: %d charts, want %d", what, n, len(all.charts()))
			}
			is(what, "[...document.querySelectorAll('svg.chart')].every(s => s.getBoundingClientRect().width > 200 && s.getBoundingClientRect().height > 60 && s.querySelectorAll('path').length > 2)")
			is(what, "[...document.querySelectorAll('svg.chart')].every(s => s.getAttribute('aria-label').length > 20)")
			for _, cut := range browsertest.Eval[[]string](b, "cutOff()") {
				t.Errorf("%s: cut off at the edge of its chart: %s", what, cut)
			}
			for _, overlap := range browsertest.Eval[[]string](b, "overlapping()") {
				t.Errorf("%s: overlap: %s", what, overlap)
			}
			is(what, "[...document.querySelectorAll('.charts text')].every(x => x.getBoundingClientRect().height >= 8)")
			is(what, "document.querySelectorAll('.alarm').length === 2")
			is(what, "[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.getAttribute('href')))")
			is(what, "document.querySelector('.head').innerText.includes('100× less: better')")
		}
	}
	browsertest.Eval[bool](b, `setFamily("")`)
	b.Do(chromedp.EmulateViewport(390, 900))
	is("on a phone", "[...document.querySelectorAll('.head .who')].every(x => x.offsetWidth > 0)")
	b.Do(chromedp.EmulateViewport(1280, 900))
	is("on a screen", "[...document.querySelectorAll('.head .who')].every(x => x.offsetWidth === 0)")

	// every colour of a chart is another one in the dark, and none is left out
	const colors = "[...document.querySelectorAll('svg.chart [style]')].filter(x => /var\\(/.test(x.getAttribute('style'))).map(x => getComputedStyle(x).fill + getComputedStyle(x).stroke)"
	day := browsertest.Eval[[]string](b, colors)
	b.Media("", "dark")
	night := browsertest.Eval[[]string](b, colors)
	same := 0
	for i := range day {
		if day[i] == night[i] {
			same++
		}
	}
	if len(day) < 100 || same > 0 {
		t.Errorf("%d of %d colours of the charts are the same in the dark", same, len(day))
	}
	is("in the dark", "getComputedStyle(document.body).backgroundColor !== 'rgb(244, 245, 249)'")

	// paper: white whatever the screen is, no navigation, nothing folded up
	b.Media("print", "dark")
	is("on paper", "getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")
	is("on paper", "getComputedStyle(document.querySelector('nav')).display === 'none'")
	is("on paper", "[...document.querySelectorAll('details table')].every(x => x.getBoundingClientRect().height > 40 && x.checkVisibility({contentVisibilityAuto: true}))")
	paper := browsertest.Eval[[]string](b, colors)
	for i := range paper {
		if paper[i] != day[i] {
			t.Errorf("a chart on paper has the colours of the dark: %s", paper[i])
			break
		}
	}

	b.Clean(func(asked string) bool {
		return strings.HasPrefix(asked, "file://"+path) || strings.HasPrefix(asked, "data:")
	}, 1)
}

package report

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tandem-ws/tandem/compare/result"
)

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium, which this test drives: run make test-deps, or install the package chromium")
	return ""
}

// tab is a page in a headless Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex // guards what follows
	requests []string
	problems []string
}

// open opens a file in a fresh browser, which ends with the test.
func open(t *testing.T, path string) *tab {
	t.Helper()
	ctx, cancelAll := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true))...)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("end the browser: %v", err)
		}
		cancel()
		cancelAll()
	})
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	for _, enable := range []cdp.Command[cdp.Empty, cdp.Empty]{runtime.Enable, log.Enable} {
		if _, err := chromedp.Call(ctx, enable, cdp.Empty{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Navigate((&url.URL{Scheme: "file", Path: path}).String()))
	return b
}

func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.problems = append(b.problems, fmt.Sprint("console: ", e.Type))
	case *log.EventEntryAdded:
		b.problems = append(b.problems, e.Entry.Text)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("browser: %v", err)
	}
}

// eval is the value of a JavaScript expression.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("browser: %s: %v", expression, err)
	}
	return v
}

// media makes the page believe that it is shown so.
func (b *tab) media(medium, scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: medium, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

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
	b := open(t, filepath.Join(path, result.ReportFile))
	is := func(what, expression string) {
		t.Helper()
		if !eval[bool](b, expression) {
			t.Errorf("%s: %s is false", what, expression)
		}
	}
	for _, width := range []int64{390, 1280} {
		what := fmt.Sprintf("%d wide", width)
		b.do(chromedp.EmulateViewport(width, 900))
		b.media("", "light")
		is(what, "document.documentElement.scrollWidth <= innerWidth")
		if n := eval[int](b, "document.querySelectorAll('svg.chart').length"); n != len(all.charts()) || n < 8 {
			t.Errorf("%s: %d charts, want %d", what, n, len(all.charts()))
		}
		is(what, "[...document.querySelectorAll('svg.chart')].every(s => s.getBoundingClientRect().width > 200 && s.getBoundingClientRect().height > 60 && s.querySelectorAll('path').length > 2)")
		is(what, "[...document.querySelectorAll('svg.chart')].every(s => s.getAttribute('aria-label').length > 20)")
		// no word of a chart is cut off at its edge
		is(what, "[...document.querySelectorAll('svg.chart')].every(s => { const r = s.getBoundingClientRect(); return [...s.querySelectorAll('text')].every(x => { const q = x.getBoundingClientRect(); return q.left >= r.left - 2 && q.right <= r.right + 2 }) })")
		is(what, "[...document.querySelectorAll('.charts text')].every(x => x.getBoundingClientRect().height >= 8)")
		is(what, "document.querySelectorAll('.alarm').length === 2")
		is(what, "[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.getAttribute('href')))")
		is(what, "document.querySelector('.head').innerText.includes('100× less: better')")
	}
	b.do(chromedp.EmulateViewport(390, 900))
	is("on a phone", "[...document.querySelectorAll('.head .who')].every(x => x.offsetWidth > 0)")
	b.do(chromedp.EmulateViewport(1280, 900))
	is("on a screen", "[...document.querySelectorAll('.head .who')].every(x => x.offsetWidth === 0)")

	// every colour of a chart is another one in the dark, and none is left out
	const colors = "[...document.querySelectorAll('svg.chart [style]')].filter(x => /var\\(/.test(x.getAttribute('style'))).map(x => getComputedStyle(x).fill + getComputedStyle(x).stroke)"
	day := eval[[]string](b, colors)
	b.media("", "dark")
	night := eval[[]string](b, colors)
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
	b.media("print", "dark")
	is("on paper", "getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")
	is("on paper", "getComputedStyle(document.querySelector('nav')).display === 'none'")
	is("on paper", "[...document.querySelectorAll('details table')].every(x => x.getBoundingClientRect().height > 40 && x.checkVisibility({contentVisibilityAuto: true}))")
	paper := eval[[]string](b, colors)
	for i := range paper {
		if paper[i] != day[i] {
			t.Errorf("a chart on paper has the colours of the dark: %s", paper[i])
			break
		}
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		if !strings.HasPrefix(r, "file://"+path) && !strings.HasPrefix(r, "data:") {
			t.Errorf("the page asked for %s", r)
		}
	}
	if len(b.requests) == 0 {
		t.Error("no request was seen, not even the page's")
	}
	for _, p := range b.problems {
		t.Errorf("the page complains: %s", p)
	}
}

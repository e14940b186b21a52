// Package browsertest shows tests what a page is in a browser: it drives a
// headless Chromium and keeps what the page asked for and complained about.
package browsertest

import (
	"context"
	"fmt"
	"os/exec"
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
)

// patience is how long a page may take for something that must happen.
const patience = 30 * time.Second

// Tab is a tab of a browser of its own. What fails in it ends the test, so its
// methods are for the test's goroutine.
type Tab struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex // guards what follows
	requests []string
	problems []string
}

// Open opens an empty tab in a fresh browser, which ends with the test.
func Open(t testing.TB) *Tab {
	t.Helper()
	ctx, cancelAll := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en"),
	)...)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("end the browser: %v", err)
		}
		cancel()
		cancelAll()
	})
	b := &Tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	for _, enable := range []cdp.Command[cdp.Empty, cdp.Empty]{runtime.Enable, log.Enable} {
		if _, err := chromedp.Call(ctx, enable, cdp.Empty{}); err != nil {
			t.Fatalf("browser: %v", err)
		}
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatalf("browser: %v", err)
	}
	return b
}

func chromium(t testing.TB) string {
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

// note keeps what the page asked for and what went wrong in it.
func (b *Tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, fmt.Sprintf("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		said := []string{fmt.Sprintf("console: %v:", e.Type)}
		for _, a := range e.Args {
			said = append(said, string(a.Value))
		}
		b.problems = append(b.problems, strings.Join(said, " "))
	case *log.EventEntryAdded:
		b.problems = append(b.problems, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	}
}

// Do takes steps, one after the other.
func (b *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("browser: %v", err)
	}
}

// Eval is the value of a JavaScript expression.
func Eval[T any](b *Tab, expression string) T {
	b.t.Helper()
	return run(b, expression, chromedp.Evaluate[T](expression))
}

// Screenshot is what the tab shows, as a PNG.
func (b *Tab) Screenshot() []byte {
	b.t.Helper()
	return run(b, "screenshot", chromedp.CaptureScreenshot())
}

func run[T any](b *Tab, what string, step chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, step)
	if err != nil {
		b.t.Fatalf("browser: %s: %v", what, err)
	}
	return v
}

// Await waits until a JavaScript expression is true; what says of what.
func (b *Tab) Await(what, expression string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for !Eval[bool](b, expression) {
		if time.Now().After(deadline) {
			b.t.Fatalf("never came to %s; the page says:\n%s", what, Eval[string](b, "document.body.innerText"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Media makes the page believe that it is shown on this medium, "" for what it
// is, to a user who prefers this colour scheme.
func (b *Tab) Media(medium, scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: medium, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		b.t.Fatalf("browser: %v", err)
	}
}

// Clean fails the test if the page asked for anything but its own, if it asked
// for fewer than least things (then they were not seen), or if it had anything
// to complain about.
func (b *Tab) Clean(own func(url string) bool, least int) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		if !own(r) {
			b.t.Errorf("the page asked for %s", r)
		}
	}
	if len(b.requests) < least {
		b.t.Errorf("only these requests were seen: %q", b.requests)
	}
	for _, p := range b.problems {
		b.t.Errorf("the page complains: %s", p)
	}
}

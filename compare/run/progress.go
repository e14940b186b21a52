package run

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows the progress of the plan: a bar with the time left on a terminal, or
// else a line for each run. One goroutine calls its methods; another, which close
// ends, moves the bar during a run.
type progress struct {
	w           io.Writer
	total       time.Duration
	steps, step int
	began       time.Time

	mu      sync.Mutex               // guards what follows, held while it is drawn
	bar     *progressbar.ProgressBar // nil: lines
	done    time.Duration            // of total, by runs that ended
	current step
	since   time.Time // when current began

	stop   chan struct{}
	ticker sync.WaitGroup
}

// drawEvery is how often the bar moves.
const drawEvery = 500 * time.Millisecond

func newProgress(w io.Writer, interactive bool, p plan) *progress {
	g := &progress{w: w, total: p.takes(), steps: len(p.steps), began: time.Now(), stop: make(chan struct{})}
	if interactive {
		g.bar = progressbar.NewOptions64(g.total.Milliseconds(),
			progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(12),
			progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
			progressbar.OptionClearOnFinish())
		g.ticker.Go(g.tick)
	}
	return g
}

func (g *progress) tick() {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.mu.Lock()
			g.draw()
			g.mu.Unlock()
		case <-g.stop:
			return
		}
	}
}

// reached returns how much of the plan's time has passed. A run that takes longer than
// expected does not move it. g.mu is held.
func (g *progress) reached() time.Duration {
	if g.since.IsZero() {
		return g.done
	}
	return g.done + min(time.Since(g.since), g.current.takes)
}

// left estimates how long the rest takes, corrected by the accuracy of the estimate so
// far. g.mu is held.
func (g *progress) left() time.Duration {
	pace := 1.0
	if g.done > 10*time.Second {
		pace = float64(g.since.Sub(g.began)) / float64(g.done)
	}
	return time.Duration(float64(g.total-g.reached()) * pace).Round(time.Second)
}

// says returns the text before the bar, or of the run's line. g.mu is held.
func (g *progress) says() string {
	return fmt.Sprintf("%d/%d  %v left  %s", g.step, g.steps, g.left(), g.current)
}

// draw draws the bar. g.mu is held.
func (g *progress) draw() {
	if g.since.IsZero() {
		return
	}
	g.bar.Describe(g.says())
	_ = g.bar.Set64(g.reached().Milliseconds()) // a terminal that is gone is no reason to stop measuring
}

func (g *progress) begin(s step) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.step++
	g.current, g.since = s, time.Now()
	if g.bar != nil {
		g.draw()
		return
	}
	_, _ = fmt.Fprintln(g.w, g.says())
}

func (g *progress) end(s step) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done += s.takes
	g.since = time.Time{}
}

// remark prints a line above the bar.
func (g *progress) remark(format string, a ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bar != nil {
		_ = g.bar.Clear()
	}
	_, _ = fmt.Fprintf(g.w, format+"\n", a...)
}

// close removes the bar.
func (g *progress) close() {
	close(g.stop)
	g.ticker.Wait()
	if g.bar != nil {
		_ = g.bar.Finish()
	}
}

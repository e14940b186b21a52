package kit

import (
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Tester is what clients and conditions report to: *testing.T on the goroutine
// of the test, a goroutineTester on every other.
type Tester interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// goroutineTester lets a goroutine of a test fail: Fatalf ends that goroutine
// only, for FailNow belongs to the goroutine of the test.
type goroutineTester struct{ *testing.T }

func (g goroutineTester) Fatalf(format string, args ...any) {
	g.Helper()
	g.Errorf(format, args...)
	runtime.Goexit()
}

// Together runs f on n goroutines, waits for all, and ends the test if any has
// failed.
func Together(t *testing.T, n int, f func(t Tester, i int)) {
	t.Helper()
	Background(t, n, f)()
}

// Background runs f on n goroutines. The function it returns waits for all, and
// ends the test if any has failed.
func Background(t *testing.T, n int, f func(t Tester, i int)) (wait func()) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(goroutineTester{t}, i) })
	}
	return func() {
		t.Helper()
		all.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
}

// Await waits until condition holds. The string is what was seen instead.
func Await(t Tester, what string, condition func() (bool, string)) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, seen := condition()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s; seen: %s", what, seen)
		}
	}
}

// Descriptors counts the open file descriptors of this process.
func Descriptors(t Tester) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatalf("count descriptors: %v", err)
	}
	return len(entries)
}

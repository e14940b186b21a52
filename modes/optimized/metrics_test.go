//go:build linux

package optimized

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes/admission"
)

// TestRestIsNotBusy lets a loop rest, again and again, until a rest has cost less
// than it lasted: where the loop counts rest as work, none does.
func TestRestIsNotBusy(t *testing.T) {
	const rest = 50 * time.Millisecond
	listeners, _, err := listen("127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(testEngine(t, admission.Options{}), 0, listeners[0])
	if err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- l.run(stop) }()
	t.Cleanup(func() {
		close(stop)
		if err := errors.Join(<-ended, l.release()); err != nil {
			t.Error(err)
		}
	})
	turn := func() time.Duration {
		before := l.busy.Load()
		done := make(chan struct{})
		l.inbox.post(func() { close(done) })
		<-done
		// The turn that ran the task is counted when the loop rests again.
		for l.busy.Load() == before {
			time.Sleep(time.Millisecond)
		}
		return time.Duration(l.busy.Load() - before)
	}
	turn()
	for {
		time.Sleep(rest)
		if took := turn(); took <= 0 {
			t.Fatalf("a turn took %v", took)
		} else if took < rest {
			return
		}
	}
}

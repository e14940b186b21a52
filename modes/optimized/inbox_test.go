//go:build linux

package optimized

import (
	"context"
	"fmt"
	"testing"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func (l *loop) waits() int { return len(l.inbox.wake) }

func rawFrames(messages ...string) (all string) {
	for _, m := range messages {
		frame, _ := wire.PushFrame(wire.Raw, "news", []byte(m))
		all += string(frame)
	}
	return all
}

// TestInboxWakesOnce: a loop is woken when a batch is complete, or when much has
// gathered, once for all that is in its inbox; nobody but the loop delivers it.
func TestInboxWakesOnce(t *testing.T) {
	for name, prepare := range map[string]func(l *loop){
		"a batch": func(*loop) {},
		"much": func(l *loop) {
			for range wakeLimit {
				l.publishNow("news", "more")
			}
		},
		"a task": func(l *loop) { l.inbox.post(func() {}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := testLoop(t)
			a := l.testAudience("news")
			l.testConnection(t, wire.Raw, a)
			prepare(l)
			l.publishNow("news", "1")
			l.engine.Flush()
			l.publishNow("news", "2")
			l.engine.Flush()
			if l.waits() != 1 || l.inbox.waiting() < 2 {
				t.Errorf("the loop was woken %d times, %d publications wait", l.waits(), l.inbox.waiting())
			}
			<-l.inbox.wake
			l.empty()
			if l.engine.Flush(); l.waits() != 0 {
				t.Error("the loop was woken for nothing")
			}
			l.publishNow("news", "3")
			if l.waits() != 0 {
				t.Error("the loop was woken before the batch was complete")
			}
			if l.engine.Flush(); l.waits() != 1 {
				t.Error("the loop was not woken for a new batch")
			}
		})
	}
}

// TestInboxKeepsOrder: a loop that runs delivers in order, while it has other things
// to do.
func TestInboxKeepsOrder(t *testing.T) {
	l := testLoop(t)
	a := l.testAudience("news")
	_, client := l.testConnection(t, wire.Raw, a)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx.Done()) }()
	const n = 5000
	go func() {
		for i := range n {
			l.publishNow("news", fmt.Sprintf("%04d", i))
			if i%3 == 0 {
				l.inbox.post(func() {})
			}
			if i%7 != 0 {
				l.engine.Flush()
			}
		}
		l.engine.Flush()
	}()
	frame := make([]byte, len(rawFrames("0000")))
	for i := range n {
		for got := 0; got < len(frame); {
			read, err := client.Read(frame[got:])
			if err != nil {
				t.Fatal(err)
			}
			got += read
		}
		if want := rawFrames(fmt.Sprintf("%04d", i)); string(frame) != want {
			t.Fatalf("%q, want %q", frame, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	l.stopped = make(chan struct{}) // for testLoop's own end
}

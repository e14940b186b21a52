//go:build linux

package optimized

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func (l *loop) waits() int { return len(l.inbox.wake) }

// expectRaw reads what the client has been sent, which has to be there already.
func expectRaw(t *testing.T, client *os.File, want string) {
	t.Helper()
	buffer := make([]byte, 4096)
	n, err := client.Read(buffer)
	if err != nil || string(buffer[:n]) != want {
		t.Errorf("read %q, %v, want %q", buffer[:n], err, want)
	}
}

func rawFrames(messages ...string) (all string) {
	for _, m := range messages {
		frame, _ := wire.PushFrame(wire.Raw, "news", []byte(m))
		all += string(frame)
	}
	return all
}

// TestLend: a few deliveries are made by whoever hands them over, joined, where
// the loop rests, and it is not woken.
func TestLend(t *testing.T) {
	l := testLoop(t)
	a := l.testAudience("news")
	_, client := l.testConnection(t, wire.Raw, a)
	l.publishNow("news", "1")
	l.publishNow("news", "2")
	l.engine.Flush()
	expectRaw(t, client, rawFrames("1", "2"))
	if l.waits() != 0 || l.inbox.waiting() != 0 {
		t.Errorf("the loop was woken %d times, %d publications wait", l.waits(), l.inbox.waiting())
	}
	l.engine.Flush()
	if l.waits() != 0 {
		t.Error("the loop was woken for nothing")
	}
}

// TestNotLent: the loop itself delivers what comes while it turns, what is much,
// and what comes with something else to do, and is woken once for it.
func TestNotLent(t *testing.T) {
	for name, prepare := range map[string]func(l *loop, a *audience) (undo func()){
		"turning": func(l *loop, _ *audience) func() {
			l.turning.Lock()
			return l.turning.Unlock
		},
		"much": func(l *loop, _ *audience) func() {
			for range lendLimit {
				l.publishNow("news", "more")
			}
			return func() {}
		},
		"a task": func(l *loop, _ *audience) func() {
			l.inbox.post(func() {})
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := testLoop(t)
			a := l.testAudience("news")
			l.testConnection(t, wire.Raw, a)
			undo := prepare(l, a)
			l.publishNow("news", "1")
			l.engine.Flush()
			undo()
			if l.waits() != 1 || l.inbox.waiting() == 0 {
				t.Errorf("the loop was woken %d times, %d publications wait", l.waits(), l.inbox.waiting())
			}
			// What comes before the loop looks is not somebody else's.
			l.publishNow("news", "2")
			l.engine.Flush()
			if waiting := l.inbox.waiting(); waiting < 2 {
				t.Errorf("%d publications wait, want all", waiting)
			}
			l.empty()
			l.publishNow("news", "3")
			if l.engine.Flush(); l.inbox.waiting() != 0 {
				t.Error("not lent when the loop had looked")
			}
		})
	}
}

// TestLentTurnWakesTheLoop: where a delivery leaves a deadline behind, the loop
// has to know.
func TestLentTurnWakesTheLoop(t *testing.T) {
	l := testLoop(t)
	l.engine.Limits.MaxQueuedBytes = 1 << 10
	a := l.testAudience("news")
	r, _ := l.testConnection(t, wire.Raw, a)
	l.wheel.disarm(l.slab.top - 1)
	l.alarm = l.now.Add(farAway)
	message := make([]byte, 8<<10)
	for i := 0; r.state == open; i++ {
		if l.waits() != 0 {
			t.Fatalf("woken after %d messages, before anything was due", i)
		}
		l.publishNow("news", string(message))
		l.engine.Flush()
	}
	if l.waits() != 1 {
		t.Error("the loop was not told that a slow client has to be closed in time")
	}
}

// TestLendingKeepsOrder: a loop that runs delivers what is lent and what is not
// in order, while it has other things to do.
func TestLendingKeepsOrder(t *testing.T) {
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

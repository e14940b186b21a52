package netpoll

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newPoller(tb testing.TB) *Poller {
	tb.Helper()
	p, err := New()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

func pair(tb testing.TB) (ours int, theirs *os.File) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		tb.Fatal(err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "theirs")
	tb.Cleanup(func() {
		_ = unix.Close(fds[0])
		_ = theirs.Close()
	})
	return fds[0], theirs
}

// next waits for the next events.
func next(tb testing.TB, p *Poller) []Event {
	tb.Helper()
	for deadline := time.After(2 * time.Minute); ; {
		events, err := p.Poll()
		if err != nil {
			tb.Fatal(err)
		}
		if len(events) > 0 {
			return events
		}
		select {
		case <-p.Readable():
		case <-deadline:
			tb.Fatal("no event")
		}
	}
}

func TestEvents(t *testing.T) {
	p := newPoller(t)
	fd, theirs := pair(t)
	token := Token{Index: 1 << 31, Generation: 1<<32 - 1}
	if err := p.Add(fd, token); err != nil {
		t.Fatal(err)
	}
	if e := next(t, p); len(e) != 1 || e[0].Token != token || !e[0].Writable || e[0].Readable || e[0].Ended {
		t.Fatalf("a fresh socket: %+v", e)
	}
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if e := next(t, p); !e[0].Readable || e[0].Ended {
		t.Fatalf("bytes have come: %+v", e)
	}
	if events, err := p.Poll(); err != nil || len(events) != 0 {
		t.Fatalf("the same bytes are announced again: %+v, %v", events, err)
	}
	// A byte and the end at once: both are said, for the byte alone would hide
	// the end.
	if _, err := theirs.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	for e := next(t, p); !e[0].Ended; e = next(t, p) {
		if e[0].Token != token {
			t.Fatalf("the end: %+v", e)
		}
	}
}

func TestRemovedIsSilent(t *testing.T) {
	p := newPoller(t)
	quiet, quietEnd := pair(t)
	loud, loudEnd := pair(t)
	for i, fd := range []int{quiet, loud} {
		if err := p.Add(fd, Token{Index: uint32(i)}); err != nil {
			t.Fatal(err)
		}
	}
	next(t, p)
	if err := p.Remove(quiet); err != nil {
		t.Fatal(err)
	}
	for _, end := range []*os.File{quietEnd, loudEnd} {
		if _, err := end.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if e := next(t, p); len(e) != 1 || e[0].Token.Index != 1 {
		t.Errorf("got %+v, want the other socket's event alone", e)
	}
	if err := p.Remove(quiet); err == nil {
		t.Error("removing twice is no error")
	}
}

// TestMoreThanABatch: events that one Poll has no room for come with the next.
func TestMoreThanABatch(t *testing.T) {
	p := newPoller(t)
	const many = Batch + 100
	seen := make(map[uint32]int)
	for i := range many {
		fd, _ := pair(t)
		if err := p.Add(fd, Token{Index: uint32(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for len(seen) < many {
		for _, e := range next(t, p) {
			seen[e.Token.Index]++
		}
	}
	for index, times := range seen {
		if times != 1 {
			t.Errorf("socket %d was announced %d times", index, times)
		}
	}
}

// BenchmarkPoll compares the call that Poll makes with the announced one.
func BenchmarkPoll(b *testing.B) {
	p := newPoller(b)
	b.Run("RawSyscall", func(b *testing.B) {
		for b.Loop() {
			if _, err := p.Poll(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Syscall", func(b *testing.B) {
		for b.Loop() {
			if _, err := unix.EpollWait(p.fd, p.raw[:], 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package logwriter

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for something that must happen.
const patience = time.Minute

func TestOrderAndFlush(t *testing.T) {
	var got bytes.Buffer
	w := New(&got, nil)
	var want strings.Builder
	for i := range 1000 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	for range 2 {
		if !w.Close(patience) {
			t.Fatal("Close gave up")
		}
	}
	if got.String() != want.String() || w.Dropped() != 0 {
		t.Errorf("%d bytes of %d arrived, %d lines dropped", got.Len(), want.Len(), w.Dropped())
	}
	if n, err := w.Write([]byte("late\n")); n != 5 || err != nil || w.Dropped() != 1 {
		t.Errorf("after Close: Write returns %d, %v; %d lines dropped, want 1", n, err, w.Dropped())
	}
}

// TestReaderThatDoesNotRead fills a pipe: nothing waits for it, what is held is
// bounded, and what was not dropped arrives when it is read.
func TestReaderThatDoesNotRead(t *testing.T) {
	r, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w := New(to, nil)
	line := bytes.Repeat([]byte("x"), 1<<10)
	const lines = 4 * MaxQueued >> 10
	var writing sync.WaitGroup
	for range 4 {
		writing.Go(func() {
			for range lines / 4 {
				_, _ = w.Write(line)
			}
		})
	}
	writing.Wait()
	dropped := w.Dropped()
	if least := uint64(lines/2 + 1); dropped < least || dropped >= lines {
		t.Errorf("%d of %d lines dropped, want %d or more, but not all", dropped, lines, least)
	}
	if w.Close(time.Millisecond) {
		t.Error("Close has flushed into a full pipe")
	}
	var got bytes.Buffer
	writing.Go(func() { _, _ = got.ReadFrom(r) })
	if !w.Close(patience) {
		t.Fatal("Close gives up although the pipe is read")
	}
	_ = to.Close()
	writing.Wait()
	if got.Len() != int(lines-dropped)<<10 {
		t.Errorf("%d bytes arrived of %d lines", got.Len(), lines-dropped)
	}
}

// TestRecovered: a writer that has failed and works again is told how much is lost.
func TestRecovered(t *testing.T) {
	to := &fallible{}
	told := make(chan uint64, 1)
	w := New(to, func(lines uint64) { told <- lines })
	to.fail(true)
	for range 3 {
		_, _ = w.Write([]byte("lost\n"))
	}
	for deadline := time.Now().Add(patience); w.Dropped() != 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d lines dropped, want 3", w.Dropped())
		}
	}
	to.fail(false)
	_, _ = w.Write([]byte("good\n"))
	select {
	case n := <-told:
		if n != 3 {
			t.Errorf("%d lines are said to be lost, want 3", n)
		}
	case <-time.After(patience):
		t.Fatal("nothing is said of the lost lines")
	}
	if !w.Close(patience) {
		t.Fatal("Close gave up")
	}
	if got := to.String(); got != "good\n" {
		t.Errorf("written: %q", got)
	}
}

// fallible is a file on a disk that may be full.
type fallible struct {
	mu     sync.Mutex // guards what follows
	failed bool
	bytes.Buffer
}

func (f *fallible) fail(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = yes
}

func (f *fallible) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed {
		return 0, errors.New("no space left on device")
	}
	return f.Buffer.Write(p)
}

func (f *fallible) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Buffer.String()
}

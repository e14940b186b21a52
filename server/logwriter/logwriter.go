// Package logwriter keeps a program running whatever happens to its log.
package logwriter

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// MaxQueued is how many bytes may wait to be written. They outlast a collector that
// stops reading for a moment, and are little beside what a node needs.
const MaxQueued = 1 << 20

// Writer passes on what it is given to another writer, from a goroutine of its own.
// Write never waits and never fails: if too much is waiting, or the other writer
// fails, the line is dropped and counted. It may be used concurrently.
type Writer struct {
	to        io.Writer
	recovered func(lines uint64)
	dropped   atomic.Uint64
	wake      chan struct{} // has room for one
	done      chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex // guards what follows
	lines  [][]byte
	bytes  int // in lines, and in those that are being written
	closed bool
}

// New returns a Writer to to. If recovered is not nil, it is called after lines were
// dropped, as soon as all that waited has been written, with the number of lines
// dropped since the last call; it may write to the Writer.
func New(to io.Writer, recovered func(lines uint64)) *Writer {
	w := &Writer{to: to, recovered: recovered, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// Write queues one line. It returns len(line), nil.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.bytes+len(line) > MaxQueued {
		w.dropped.Add(1)
		return len(line), nil
	}
	w.bytes += len(line)
	w.lines = append(w.lines, append([]byte(nil), line...))
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// Dropped returns the number of lines that were dropped.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

// Close waits until what is queued has been written, but no longer than patience,
// and reports whether it has. What is written later is dropped. If it returns false,
// the goroutine is inside a write that has not returned.
func (w *Writer) Close(patience time.Duration) bool {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.wake)
	}
	w.mu.Unlock()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-w.done:
		return true
	case <-late.C:
		return false
	}
}

func (w *Writer) run() {
	defer close(w.done)
	var told uint64 // of the dropped lines
	for range w.wake {
		for {
			lines := w.take()
			if len(lines) == 0 {
				break
			}
			written := false
			for _, line := range lines {
				written = w.write(line)
			}
			if n := w.dropped.Load(); written && n > told && w.recovered != nil && w.empty() {
				w.recovered(n - told)
				told = n
			}
		}
	}
}

func (w *Writer) take() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := w.lines
	w.lines = nil
	return lines
}

func (w *Writer) empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.lines) == 0
}

// write reports whether the line was written.
func (w *Writer) write(line []byte) bool {
	_, err := w.to.Write(line)
	w.mu.Lock()
	w.bytes -= len(line)
	w.mu.Unlock()
	if err != nil {
		w.dropped.Add(1)
	}
	return err == nil
}

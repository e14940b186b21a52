package workers

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// block fills the pool's workers with tasks that wait for the returned function.
func block(t *testing.T, p *Pool, n int) (release func()) {
	t.Helper()
	gate, started := make(chan struct{}), make(chan struct{})
	for range n {
		if err := p.Schedule(func(err error) {
			started <- struct{}{}
			<-gate
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		<-started
	}
	return func() { close(gate) }
}

func TestAtMostSizeAtATime(t *testing.T) {
	p := New(3, 100, time.Minute)
	var running, most, done atomic.Int32
	gate := make(chan struct{})
	for range 50 {
		if err := p.Schedule(func(err error) {
			if err != nil {
				t.Error(err)
			}
			now := running.Add(1)
			for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
			}
			<-gate
			running.Add(-1)
			done.Add(1)
		}); err != nil {
			t.Fatal(err)
		}
	}
	for most.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	for done.Load() < 50 {
		time.Sleep(time.Millisecond)
	}
	p.Close()
	if most.Load() != 3 {
		t.Errorf("%d tasks ran at a time, want 3", most.Load())
	}
}

func TestFull(t *testing.T) {
	p := New(1, 2, time.Minute)
	release := block(t, p, 1)
	for range 2 {
		if err := p.Schedule(func(error) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Schedule(func(error) { t.Error("a refused task runs") }); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if !p.Overloaded() {
		t.Error("a pool that refuses is not overloaded")
	}
	release()
	p.Close()
}

func TestTimeout(t *testing.T) {
	p := New(1, 10, time.Millisecond)
	if p.Overloaded() {
		t.Error("an idle pool is overloaded")
	}
	release := block(t, p, 1)
	told := make(chan error, 1)
	if err := p.Schedule(func(err error) { told <- err }); err != nil {
		t.Fatal(err)
	}
	for !p.Overloaded() {
		time.Sleep(time.Millisecond)
	}
	release()
	if err := <-told; !errors.Is(err, ErrTimeout) {
		t.Errorf("a task that waited too long was told %v", err)
	}
	for p.Overloaded() {
		time.Sleep(time.Millisecond)
	}
	p.Close()
}

func TestClose(t *testing.T) {
	p := New(1, 10, time.Minute)
	release := block(t, p, 1)
	told := make(chan error, 5)
	for range 5 {
		if err := p.Schedule(func(err error) { told <- err }); err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan struct{})
	go func() {
		p.Close()
		close(closed)
	}()
	for range 5 {
		if err := <-told; !errors.Is(err, ErrClosed) {
			t.Errorf("a waiting task was told %v", err)
		}
	}
	select {
	case <-closed:
		t.Error("Close did not wait for the running task")
	default:
	}
	release()
	<-closed
	p.Close()
	if err := p.Schedule(func(error) {}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// TestIdleWorkersEnd: an idle pool holds no goroutine, and works again.
func TestIdleWorkersEnd(t *testing.T) {
	p := New(4, 10, time.Minute)
	p.idle = time.Millisecond
	for range 3 {
		block(t, p, 4)()
		for {
			p.mu.Lock()
			live := p.live
			p.mu.Unlock()
			if live == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	p.Close()
}

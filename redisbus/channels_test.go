package redisbus

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestBatchesAreBounded(t *testing.T) {
	c := newChannels("p:", time.Second)
	c.connect()
	const n = 3*maxBatch + 7
	for i := range n {
		if _, _, err := c.acquire(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	var sizes []int
	for {
		names, _, _ := c.next(0)
		if names == nil {
			break
		}
		sizes = append(sizes, len(names))
		c.confirmSubscribe(names, 0)
	}
	if want := []int{maxBatch, maxBatch, maxBatch, 7}; !slices.Equal(sizes, want) {
		t.Errorf("batches of %v, want %v", sizes, want)
	}
	for i := range n {
		c.release(fmt.Sprint(i), time.Duration(i))
	}
	if _, leave, again := c.next(time.Second / 2); leave != nil || again != time.Second {
		t.Errorf("%d channels leave early, next look at %v, want %v", len(leave), again, time.Second)
	}
	sizes = nil
	// The first is due, and takes with it those that soon are.
	for now := time.Second; ; now += maxBatch {
		_, names, _ := c.next(now)
		if names == nil {
			break
		}
		sizes = append(sizes, len(names))
		c.confirmUnsubscribe(names)
	}
	if want := []int{maxBatch, maxBatch, maxBatch, 7}; !slices.Equal(sizes, want) {
		t.Errorf("left in batches of %v, want %v", sizes, want)
	}
	if known, references, _ := c.size(); known != 0 || references != 0 {
		t.Errorf("%d channels and %d references remain", known, references)
	}
}

// TestAbandonTooLate: who gives up at the moment of the answer has what the
// answer says.
func TestAbandonTooLate(t *testing.T) {
	for _, refusal := range []error{nil, errDenied} {
		c := newChannels("", time.Second)
		c.connect()
		p, _, err := c.acquire("a")
		if err != nil {
			t.Fatal(err)
		}
		names, _, _ := c.next(0)
		want := 1
		if refusal == nil {
			c.confirmSubscribe(names, 0)
		} else {
			c.refuse(names, refusal)
			want = 0
		}
		if resolved, err := c.abandon("a", p); !resolved || !errors.Is(err, refusal) {
			t.Errorf("resolved %v with %v, want %v", resolved, err, refusal)
		}
		if _, references, _ := c.size(); references != want {
			t.Errorf("%d references after %v, want %d", references, refusal, want)
		}
	}
}

// TestLingerBeginsAnew: a channel used again while it lingers has its full time
// when it is left again.
func TestLingerBeginsAnew(t *testing.T) {
	c := newChannels("", time.Second)
	c.connect()
	join := func() {
		t.Helper()
		p, _, err := c.acquire("a")
		if err != nil {
			t.Fatal(err)
		}
		if names, _, _ := c.next(0); names != nil {
			c.confirmSubscribe(names, 0)
		}
		if p != nil && !p.resolved {
			t.Fatal("not confirmed")
		}
	}
	join()
	c.release("a", 0)
	join()
	c.release("a", 900*time.Millisecond)
	if _, leave, again := c.next(time.Second); leave != nil || again != 2*time.Second {
		t.Errorf("leaves %v, next look at %v, want nothing and 2s", leave, again)
	}
	if _, leave, _ := c.next(2 * time.Second); !slices.Equal(leave, []string{"a"}) {
		t.Errorf("leaves %v, want [a]", leave)
	}
}

package redisbus

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestBatchesAreBounded(t *testing.T) {
	c := newChannels(&Options{Prefix: "p:", Linger: time.Second, SubscribeTimeout: time.Minute})
	c.connect()
	const n = 3*maxBatch + 7
	for i := range n {
		if _, err := c.acquire(fmt.Sprint(i), 0, func(error) {}); err != nil {
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

// TestLingerBeginsAnew: a channel used again while it lingers has its full time
// when it is left again.
func TestLingerBeginsAnew(t *testing.T) {
	c := newChannels(&Options{Linger: time.Second, SubscribeTimeout: time.Minute})
	c.connect()
	join := func() {
		t.Helper()
		confirmed := false
		if _, err := c.acquire("a", 0, func(err error) { confirmed = err == nil }); err != nil {
			t.Fatal(err)
		}
		if names, _, _ := c.next(0); names != nil {
			answers, _ := c.confirmSubscribe(names, 0)
			answers.call()
		}
		answers, _ := c.overdue(0, false)
		answers.call()
		if !confirmed {
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

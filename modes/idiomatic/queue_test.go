package idiomatic

import (
	"testing"

	"github.com/tandem-ws/tandem/modes"
)

// Whoever ends a connection wakes its writer after it has set the ending, which the
// writer may have seen by then. That must not keep it from the backlog: what a client
// is due before the end would be dropped, and counted as waiting for ever.
func TestQueueWokenLate(t *testing.T) {
	q := newQueue(1, 1<<20, modes.NewStats(), nil)
	messages := []*message{{size: 1}, {size: 1}, {size: 1}}
	for _, m := range messages {
		if !q.add(m) {
			t.Fatal("a message was not queued")
		}
	}
	if got := <-q.ready; got != messages[0] {
		t.Fatalf("got %v first, want %v", got, messages[0])
	}
	q.wake()
	if got := q.remainder(); len(got) != 2 || got[0] != messages[1] || got[1] != messages[2] {
		t.Errorf("got %v, want the two messages behind the first", got)
	}
}

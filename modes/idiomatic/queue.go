package idiomatic

import (
	"sync"
	"sync/atomic"

	"github.com/tandem-ws/tandem/modes"
)

// queue is what waits for one connection's writer: a Go channel, and behind it a
// backlog for bursts, which a connection has only while it needs one. Its bound
// is in bytes. Any goroutine may add to it, the writer alone takes from it.
type queue struct {
	ready chan *message
	limit int64
	stats *modes.Stats
	bytes atomic.Int64 // of what is waiting and being written

	// more tells whether there is a backlog. While there is, everything goes
	// behind it; a backlog is never without something in ready, or a writer
	// who has yet to look.
	more    atomic.Bool
	mu      sync.Mutex // guards backlog
	backlog []*message
}

func newQueue(length, limit int, stats *modes.Stats) queue {
	return queue{ready: make(chan *message, length), limit: int64(limit), stats: stats}
}

// add queues m without waiting; false: that would be too much.
func (q *queue) add(m *message) bool {
	size := m.bytes()
	// What is larger than the bound may go out if nothing else waits.
	if total := q.bytes.Add(size); total > q.limit && total != size {
		q.bytes.Add(-size)
		return false
	}
	q.stats.Queued.Add(size)
	if !q.more.Load() && q.offer(m) {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	// The writer may have been here since.
	if len(q.backlog) == 0 && q.offer(m) {
		return true
	}
	q.backlog = append(q.backlog, m)
	q.more.Store(true)
	return true
}

// wake has the writer look up, now or after what it is busy with.
func (q *queue) wake() { q.offer(wakeUp) }

// wakeUp is no message and not sent.
var wakeUp = new(message)

func (q *queue) offer(m *message) bool {
	select {
	case q.ready <- m:
		return true
	default:
		return false
	}
}

// rest returns the backlog, if it is its turn.
func (q *queue) rest() []*message {
	if len(q.ready) > 0 || !q.more.Load() {
		return nil
	}
	return q.remainder()
}

// remainder returns the backlog, whatever is in ready. When nothing can be added any
// more, and what was ready is taken, a wakeUp may still come.
func (q *queue) remainder() []*message {
	q.mu.Lock()
	defer q.mu.Unlock()
	backlog := q.backlog
	q.backlog = nil
	q.more.Store(false)
	return backlog
}

// done notes that size bytes are not waiting any more.
func (q *queue) done(size int) {
	q.bytes.Add(-int64(size))
	q.stats.Queued.Add(-int64(size))
}

// crowded tells whether so much is waiting that the writer should get a chance.
// Where that is much less, a burst to many connections takes half as much time
// again, for switching among their writers.
func (q *queue) crowded() bool { return q.bytes.Load() > q.limit/32 }

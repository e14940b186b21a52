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
	ready  chan *message
	limit  int64
	stats  *modes.Stats
	socket *socket      // nil: it takes nothing
	bytes  atomic.Int64 // of what is waiting and being written
	// large is the size of a message in the queue that is larger than the bound by
	// itself; 0: there is none. It does not count.
	large atomic.Int64
	taken atomic.Int64 // bytes that do not wait any more, of all time
	// target is how many those must be for passed to be closed; 0: nobody waits.
	target atomic.Int64

	// more tells whether there is a backlog. While there is, everything goes
	// behind it; a backlog is never without something in ready, or a writer
	// who has yet to look.
	more    atomic.Bool
	mu      sync.Mutex // guards what follows
	backlog []*message
	passed  chan struct{} // the reader waits for it
	closed  bool          // the writer has ended
}

func newQueue(length, limit int, stats *modes.Stats, s *socket) queue {
	return queue{ready: make(chan *message, length), limit: int64(limit), stats: stats, socket: s}
}

// add queues m without waiting; false: that would be too much.
func (q *queue) add(m *message) bool {
	size := m.bytes()
	if !q.admit(size) {
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

// admit counts size bytes as waiting, if the bound allows them: what waits and they
// are no more than limit. A message that is larger by itself may go out if nothing
// waits for the client, and does not count while it does.
func (q *queue) admit(size int64) bool {
	if size > q.limit {
		return q.admitLarge(size)
	}
	total := q.bytes.Add(size) - q.large.Load()
	if total <= q.limit || total-size <= q.limit && q.socket.writable() {
		return true
	}
	q.bytes.Add(-size)
	return false
}

func (q *queue) admitLarge(size int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := q.bytes.Load()
	if q.large.Load() > 0 || waiting > 0 && (waiting > q.limit || !q.socket.writable()) {
		return false
	}
	// In this order: whoever adds in between must not count it.
	q.large.Store(size)
	q.bytes.Add(size)
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

// done notes that a message of size bytes is not waiting any more.
func (q *queue) done(size int) {
	q.bytes.Add(-int64(size))
	if int64(size) > q.limit {
		q.large.Store(0)
	}
	q.stats.Queued.Add(-int64(size))
	taken := q.taken.Add(int64(size))
	if target := q.target.Load(); target > 0 && taken >= target {
		q.pass()
	}
}

// pass lets the reader go on.
func (q *queue) pass() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.target.Store(0)
	if q.passed != nil {
		close(q.passed)
		q.passed = nil
	}
}

// close lets the reader go on, now and whenever it would wait. The writer calls it
// last.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.pass()
}

// wait returns once what is waiting now is not any more, or the writer has ended.
// Nothing is added to the queue for that, which it could refuse.
func (q *queue) wait() {
	q.mu.Lock()
	// taken first: what is done in between then makes target too small, not too
	// large.
	target := q.taken.Load() + q.bytes.Load()
	if q.closed {
		q.mu.Unlock()
		return
	}
	passed := make(chan struct{})
	q.passed = passed
	q.target.Store(target)
	q.mu.Unlock()
	if q.taken.Load() >= target {
		q.pass()
	}
	<-passed
}

// crowded tells whether so much is waiting that the writer should get a chance.
// Where that is much less, a burst to many connections takes half as much time
// again, for switching among their writers.
func (q *queue) crowded() bool { return q.bytes.Load() > q.limit/32 }

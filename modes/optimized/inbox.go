//go:build linux

package optimized

import (
	"sync"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// frames are one publication's frames by form; nil where nobody wants one.
type frames [wire.Forms]wire.Frame

// publication is what the bus delivered, on its way to one loop.
type publication struct {
	audience *audience
	frames   frames
}

// wakeLimit is how many deliveries may gather in an inbox before its loop is woken,
// although the bus has more publications at hand.
const wakeLimit = 16

// inbox is how other goroutines reach a loop. It is not bounded by itself: the
// publications are those of one turn of the loop, and tasks come from workers
// and the bus.
type inbox struct {
	wake chan struct{} // has a value when the loop is to look

	mu           sync.Mutex // guards what follows
	publications []publication
	due          int           // deliveries that they are, about
	signalled    bool          // the loop has been woken for what is in here
	since        modes.Instant // when the first of the publications came
	tasks        []func()
	closed       bool
}

// publish adds a publication, with those of the frames that a wants now: whether
// it does is decided once, in the order in which the loop takes them. It is dropped
// where a wants none, and once the loop has ended. The loop is woken if there is
// much; the caller goes on to flush for the rest.
func (b *inbox) publish(a *audience, f frames) {
	b.mu.Lock()
	wanted := 0
	for form := range f {
		if f[form] == nil {
			continue
		}
		if n := int(a.wants[form].Load()); n > 0 {
			wanted += n
		} else {
			f[form] = nil
		}
	}
	wake := false
	if wanted > 0 && !b.closed {
		if len(b.publications) == 0 {
			b.since = modes.Now()
		}
		b.publications = append(b.publications, publication{a, f})
		b.due += wanted
		wake = b.due > wakeLimit && !b.signalled
		b.signalled = b.signalled || wake
	}
	b.mu.Unlock()
	if wake {
		b.signal()
	}
}

// flush wakes the loop if there are publications that it has not been woken for.
func (b *inbox) flush() {
	b.mu.Lock()
	wake := !b.signalled && len(b.publications) > 0
	b.signalled = b.signalled || wake
	b.mu.Unlock()
	if wake {
		b.signal()
	}
}

// post adds a task for the loop to run. False: the loop has ended, the task will
// not run.
func (b *inbox) post(task func()) bool {
	b.mu.Lock()
	open, wake := !b.closed, !b.signalled
	if open {
		b.tasks = append(b.tasks, task)
		b.signalled = true
	}
	b.mu.Unlock()
	if wake {
		b.signal()
	}
	return open
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns what is in the inbox and leaves it the given slices, emptied, to
// fill next. since is when the first of the publications came. Those who have left
// want nothing of what comes after.
func (b *inbox) take(publications []publication, tasks []func(), left []leaving) (_ []publication, since modes.Instant, _ []func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, member := range left {
		member.audience.wants[member.form].Add(-1)
	}
	takenPublications, takenTasks := b.publications, b.tasks
	b.publications, b.tasks = publications[:0], tasks[:0]
	b.due, b.signalled = 0, false
	return takenPublications, b.since, takenTasks
}

// waiting is how many publications the loop has not taken yet.
func (b *inbox) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.publications)
}

// close refuses what comes from now on and returns the tasks that came before.
func (b *inbox) close() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	tasks := b.tasks
	b.publications, b.tasks = nil, nil
	return tasks
}

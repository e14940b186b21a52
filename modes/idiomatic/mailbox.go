package idiomatic

import (
	"sync"
	"sync/atomic"
)

// mailbox is what the bus has for one connection: the answers to what the
// connection asked it for. The connection's writer acts on them, because the bus's
// goroutines feed all connections and may do no more than hand over.
type mailbox struct {
	some   atomic.Bool // there are tasks
	mu     sync.Mutex  // guards what follows
	tasks  []func()
	closed bool
}

// add adds a task; false: the connection has ended, and the task will not run.
func (m *mailbox) add(task func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.tasks = append(m.tasks, task)
		m.some.Store(true)
	}
	return !m.closed
}

// take returns the tasks.
func (m *mailbox) take() []func() {
	if !m.some.Load() {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	tasks := m.tasks
	m.tasks = nil
	m.some.Store(false)
	return tasks
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

// post has the connection's writer run task with mu held; false: it has ended, and
// the task will not run.
func (c *connection) post(task func()) bool {
	if !c.mailbox.add(task) {
		return false
	}
	c.queue.wake()
	return true
}

// runTasks runs what was posted. The writer calls it.
func (c *connection) runTasks() {
	tasks := c.mailbox.take()
	if len(tasks) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, task := range tasks {
		task()
	}
	c.flush()
}

// Package workers is a bounded pool of goroutines for what may block, with a
// schedule timeout: the pool of the article "A Million WebSockets and Go",
// without the wait in the caller.
package workers

import (
	"errors"
	"sync"
	"time"
)

// ErrFull says that the pool's queue is full: the task will not run.
var ErrFull = errors.New("workers: queue is full")

// ErrTimeout is what a task is told that waited longer than the schedule
// timeout for a worker.
var ErrTimeout = errors.New("workers: no worker within the schedule timeout")

// ErrClosed says that the pool is closed: the task will not run.
var ErrClosed = errors.New("workers: closed")

// Task is run once on a worker. err is nil, or ErrTimeout or ErrClosed when the
// task is only told that it has to give up; then it must not block.
type Task func(err error)

// Pool runs at most size tasks at a time. Workers start when there is work for
// them and end when there has been none for a while, so that an idle pool costs
// nothing. All methods may be called concurrently.
type Pool struct {
	size    int
	timeout time.Duration
	idle    time.Duration
	running sync.WaitGroup
	tasks   chan queued

	mu     sync.Mutex // guards what follows
	live   int        // workers
	busy   int        // workers that run a task
	due    int        // tasks that are queued or run
	closed bool
	latest time.Time // when the task that was taken last had been queued
}

type queued struct {
	task  Task
	since time.Time
}

// New returns a pool of at most size workers with room for queue waiting tasks.
func New(size, queue int, timeout time.Duration) *Pool {
	return &Pool{size: size, timeout: timeout, idle: time.Second, tasks: make(chan queued, queue)}
}

// Schedule queues task and returns at once; on error it will not run.
func (p *Pool) Schedule(task Task) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	select {
	case p.tasks <- queued{task, time.Now()}:
	default:
		return ErrFull
	}
	p.due++
	if p.live < min(p.size, p.due) {
		p.live++
		p.running.Add(1)
		go p.work()
	}
	return nil
}

// Overloaded tells whether tasks would be refused, or wait while every worker
// has been at one for longer than the schedule timeout.
func (p *Pool) Overloaded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := len(p.tasks)
	return waiting == cap(p.tasks) ||
		waiting > 0 && p.busy == p.size && time.Since(p.latest) > p.timeout
}

// Load is how many tasks run, and how many wait for a worker.
func (p *Pool) Load() (running, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy, len(p.tasks)
}

// Close tells every waiting task ErrClosed and returns when the running ones
// have ended.
func (p *Pool) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.running.Wait()
		return
	}
	p.closed = true
	close(p.tasks)
	p.mu.Unlock()
	for q := range p.tasks {
		q.task(ErrClosed)
	}
	p.running.Wait()
}

func (p *Pool) work() {
	defer p.running.Done()
	idle := time.NewTimer(p.idle)
	defer idle.Stop()
	for {
		select {
		case q, ok := <-p.tasks:
			if !ok {
				p.leave()
				return
			}
			p.run(q)
			idle.Reset(p.idle)
		case <-idle.C:
			if p.leave() {
				return
			}
			idle.Reset(p.idle)
		}
	}
}

// leave takes the worker out of the count. False: a task came in the meantime,
// and no other worker may be there for it.
func (p *Pool) leave() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tasks) > 0 && !p.closed {
		return false
	}
	p.live--
	return true
}

func (p *Pool) run(q queued) {
	p.mu.Lock()
	p.latest = q.since
	p.busy++
	closed := p.closed
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.busy--
		p.due--
		p.mu.Unlock()
	}()
	switch {
	case closed:
		q.task(ErrClosed)
	case time.Since(q.since) > p.timeout:
		q.task(ErrTimeout)
	default:
		q.task(nil)
	}
}

package redisbus

import "time"

// waiter is one call of Subscribe that is not answered yet.
type waiter struct {
	channel string
	done    func(error)
	due     time.Duration // when it has waited long enough
	err     error         // what done gets, once the waiter is part of answers

	prev, next *waiter // by due; guarded by channels.mu
	after      *waiter // the next one of the same channel, or of the same answers
}

// waiters are all those of a link, the one that came first at the front. All may
// wait equally long, so the first is the first to be due.
type waiters struct {
	first, last *waiter
}

func (q *waiters) add(w *waiter) {
	if w.prev = q.last; w.prev == nil {
		q.first = w
	} else {
		w.prev.next = w
	}
	q.last = w
}

func (q *waiters) remove(w *waiter) {
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}

// answers are waiters whose answers are known, and which are told without a lock.
type answers struct {
	first, last *waiter
}

func (a *answers) add(w *waiter, err error) {
	w.err, w.after = err, nil
	if a.last == nil {
		a.first = w
	} else {
		a.last.after = w
	}
	a.last = w
}

// call tells each waiter its answer, in order.
func (a answers) call() {
	for w := a.first; w != nil; {
		next := w.after
		w.done(w.err)
		w = next
	}
}

// pending are the waiters of one channel, in order.
type pending struct {
	first, last *waiter
	count       uint32
}

func (p *pending) add(w *waiter) {
	if p.last == nil {
		p.first = w
	} else {
		p.last.after = w
	}
	p.last = w
	p.count++
}

// removeFirst removes w, which came first of all of its channel.
func (p *pending) removeFirst() {
	if p.first = p.first.after; p.first == nil {
		p.last = nil
	}
	p.count--
}

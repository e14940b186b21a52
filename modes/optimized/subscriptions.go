//go:build linux

package optimized

import "github.com/tandem-ws/tandem/modes/protocol/session"

// request is one Subscribe of a connection, on its way to the bus and back.
type request struct {
	connection handle
	serverSide bool
	audiences  []*audience
	unanswered int // audiences that the bus has not answered for
	err        error
	subscriber session.Subscriber
}

// subscribe subscribes a connection to all channels or none. Once the bus has
// confirmed them the connection joins the audiences, and in the same step the
// subscriber learns so.
func (l *loop) subscribe(index uint32, r *record, serverSide bool, s session.Subscriber, channels ...string) {
	// While this holds, the channel of each audience is confirmed on the present
	// link. Else it need not be, and the bus is asked anew for who joins one.
	ready := l.engine.Bus.Ready() == nil
	if len(channels) == 1 && ready {
		if a := l.audienceOf(channels[0]); a != nil && a.confirmed {
			l.addPending(r, a)
			l.join(index, r, a, serverSide)
			s.Confirmed(nil)
			s.Finished()
			return
		}
	}
	q := &request{connection: handle{index, r.generation}, serverSide: serverSide, subscriber: s}
	for _, name := range channels {
		a := l.audienceOf(name)
		if a == nil {
			a = l.newAudience(name)
		}
		l.addPending(r, a)
		a.pending++
		q.audiences = append(q.audiences, a)
		if a.confirmed && ready {
			continue
		}
		q.unanswered++
		a.waiting = append(a.waiting, q)
		l.ask(a)
	}
	if q.unanswered == 0 {
		l.complete(q)
	}
}

// newAudience makes an audience whose channel is not confirmed.
func (l *loop) newAudience(name string) *audience {
	a := new(audience)
	a.index = l.audiences.add(a)
	l.engine.directory.enter(name, l.number, len(l.engine.loops), a)
	return a
}

// ask takes a reference on a's channel from the bus. Its answer comes as a task of
// the loop; who comes meanwhile waits for the same one.
func (l *loop) ask(a *audience) {
	if a.asking {
		return
	}
	a.asking = true
	bus, name := l.engine.Bus, a.channel.name
	bus.Subscribe(name, func(err error) {
		if !l.inbox.post(func() { l.answered(a, err) }) && err == nil {
			bus.Unsubscribe(name)
		}
	})
}

// answered acts on the bus's answer for a's channel.
func (l *loop) answered(a *audience, err error) {
	waiting := a.waiting
	a.asking, a.waiting = false, nil
	switch {
	case err == nil && a.confirmed:
		// One reference is enough.
		l.engine.Bus.Unsubscribe(a.channel.name)
	case err == nil:
		a.confirmed = true
	case !a.confirmed:
		// Before anything is completed, which may ask for the channel again.
		l.engine.directory.leave(a.channel, l.number)
		for _, q := range waiting {
			l.forgetPending(q, a)
		}
		l.audiences.remove(a.index)
		a.index = none
	}
	for _, q := range waiting {
		if q.err == nil {
			q.err = err
		}
		if q.unanswered--; q.unanswered == 0 {
			l.complete(q)
		}
	}
	l.releaseUnused(a)
}

// forgetPending takes back the pending subscription that q has to a, if its
// connection is still there.
func (l *loop) forgetPending(q *request, a *audience) {
	if r := l.slab.find(q.connection); r != nil && a.index != none {
		if slot, has := l.slotOf(r, a); has {
			l.forget(r, slot)
		}
	}
}

// complete ends a request: the connection joins the audiences, or is told why
// not.
func (l *loop) complete(q *request) {
	for _, a := range q.audiences {
		a.pending--
		if q.err != nil {
			l.forgetPending(q, a)
		}
	}
	r, index := l.slab.find(q.connection), q.connection.index
	if r != nil && !r.failed && (r.state == open || r.state == waiting) {
		wasWaiting := r.state == waiting
		l.peer.at(index, r)
		if q.err == nil {
			// Before Confirmed, which sends: a publication behind that looks
			// for whom it is wanted by. It cannot overtake it on this loop.
			for _, a := range q.audiences {
				l.join(index, r, a, q.serverSide)
			}
		}
		greeted := r.session.Greeted()
		q.subscriber.Confirmed(q.err)
		q.subscriber.Finished()
		l.greet(index, r, greeted)
		l.flush(index, r)
		if wasWaiting && r.state == open {
			l.unstash(index, r)
			l.flush(index, r)
		}
	}
	for _, a := range q.audiences {
		l.releaseUnused(a)
	}
}

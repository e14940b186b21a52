//go:build linux

package optimized

import (
	"strings"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// peer is the connection at hand, as its session sees it. A loop has one, set
// before each call into a session; a session that is called back later is given
// the same one, set again.
type peer struct {
	loop   *loop
	index  uint32
	record *record
	id     session.ID // room to make one: a cipher.Block lets its arguments escape
}

var _ session.Peer = (*peer)(nil)

func (p *peer) at(index uint32, r *record) { p.index, p.record = index, r }

func (p *peer) handle() handle { return handle{p.index, p.record.generation} }

func (p *peer) ClientID() string { return p.loop.engine.ids.seal(&p.id, p.loop.number, p.handle()) }

func (p *peer) Send(reply *protocol.Reply) {
	l := p.loop
	l.engine.Stats.Answered(reply)
	before := len(l.reply)
	l.reply = wire.AppendReply(l.reply, p.record.protocol, reply)
	l.countReply(len(l.reply) - before)
}

func (p *peer) Disconnect(d wire.Disconnect) { p.loop.disconnect(p.index, p.record, d) }

func (p *peer) Subscriptions(channel string) (n int, status session.Status) {
	l, r := p.loop, p.record
	if a := l.audienceOf(channel); a != nil {
		if slot, has := l.slotOf(r, a); has {
			status = session.Subscribing
			if l.subscription(r, slot).position != none {
				status = session.Subscribed
			}
		}
	}
	return l.count(r), status
}

func (p *peer) Subscribe(serverSide bool, s session.Subscriber, channels ...string) {
	p.loop.ask(p.index, p.record, serverSide, s, channels...)
}

func (p *peer) Unsubscribe(channel string) {
	l, r := p.loop, p.record
	if a := l.audienceOf(channel); a != nil {
		if slot, has := l.slotOf(r, a); has {
			l.drop(r, slot)
		}
	}
}

func (p *peer) Publish(channel string, data []byte, accepted func(error)) {
	l, h := p.loop, p.handle()
	l.engine.Bus.Publish(strings.Clone(channel), data, func(err error) {
		l.inbox.post(func() { l.with(h, func() { accepted(err) }) })
	})
}

// with runs f as if the connection had just sent something, if it is still
// there.
func (l *loop) with(h handle, f func()) {
	r := l.slab.find(h)
	if r == nil || r.state != open || r.hurt {
		return
	}
	l.peer.at(h.index, r)
	greeted := r.session.Greeted()
	f()
	l.greet(h.index, r, greeted)
	l.flush(h.index, r)
}

// ask subscribes a connection to all channels or none. Once Redis has confirmed
// them the connection joins the audiences, and in the same step the subscriber
// learns so.
func (l *loop) ask(index uint32, r *record, serverSide bool, s session.Subscriber, channels ...string) {
	if len(channels) == 1 {
		if a := l.audienceOf(channels[0]); a != nil && a.confirmed {
			l.note(r, a)
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
		l.note(r, a)
		a.requests = append(a.requests, q)
		q.audiences = append(q.audiences, a)
		if !a.confirmed {
			q.missing++
		}
	}
	if q.missing == 0 {
		l.complete(q)
	}
}

// newAudience makes an audience and asks the bus for its channel.
func (l *loop) newAudience(name string) *audience {
	e, a := l.engine, new(audience)
	a.index = l.audiences.add(a)
	e.directory.enter(name, l.number, len(e.loops), a)
	name = a.channel.name
	e.Bus.Subscribe(name, func(err error) {
		if !l.inbox.post(func() { l.confirm(a, err) }) && err == nil {
			e.Bus.Unsubscribe(name)
		}
	})
	return a
}

// confirm acts on Redis's answer to the wish for a's channel.
func (l *loop) confirm(a *audience, err error) {
	waiting := append([]*request(nil), a.requests...)
	if err == nil {
		a.confirmed = true
		for _, q := range waiting {
			if q.missing--; q.missing == 0 {
				l.complete(q)
			}
		}
		l.settle(a)
		return
	}
	// First, because what is completed may ask for the channel again.
	l.engine.directory.leave(a.channel, l.number)
	for _, q := range waiting {
		q.err = err
		l.complete(q)
	}
	l.audiences.remove(a.index)
	a.index = none
}

// complete ends a request: the connection joins the audiences, or is told why
// not.
func (l *loop) complete(q *request) {
	for _, a := range q.audiences {
		for i, other := range a.requests {
			if other == q {
				a.requests = append(a.requests[:i], a.requests[i+1:]...)
				break
			}
		}
		if len(a.requests) == 0 {
			a.requests = nil
		}
	}
	r, index := l.slab.find(q.connection), q.connection.index
	if r != nil && q.err != nil {
		// Whatever state it is in: the audiences may be gone after this.
		for _, a := range q.audiences {
			if slot, has := l.slotOf(r, a); has {
				l.forget(r, slot)
			}
		}
	}
	if r != nil && !r.hurt && (r.state == open || r.state == waiting) {
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
		l.settle(a)
	}
}

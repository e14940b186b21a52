//go:build linux

package optimized

import (
	"container/heap"
	"time"

	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// ledger is what a connection has beside its record if it came with a token: its
// session's account, and when something of it runs out.
type ledger struct {
	account session.Account
	index   uint32 // of the record
	due     time.Time
	place   int // in loop.expiries; -1: nothing runs out
}

// expiries are the ledgers of which something runs out, the next one first. A heap
// and not the wheel: a record has one place in that, which its pings take, and few
// connections have two deadlines.
type expiries []*ledger

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].due.Before(e[j].due) }

func (e expiries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].place, e[j].place = i, j
}

// Push implements heap.Interface.
func (e *expiries) Push(x any) {
	entry := x.(*ledger)
	entry.place = len(*e)
	*e = append(*e, entry)
}

// Pop implements heap.Interface.
func (e *expiries) Pop() any {
	last := len(*e) - 1
	entry := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	entry.place = -1
	return entry
}

// ledger returns that of a connection, nil if it has none and open is false.
func (l *loop) ledger(index uint32, open bool) *ledger {
	entry := l.ledgers[index]
	if entry == nil && open {
		entry = &ledger{index: index, place: -1}
		l.ledgers[index] = entry
	}
	return entry
}

// closeLedger gives up what a connection has there.
func (l *loop) closeLedger(index uint32) {
	if len(l.ledgers) == 0 {
		return
	}
	if entry := l.ledgers[index]; entry != nil {
		l.expireAt(entry, time.Time{})
		delete(l.ledgers, index)
	}
}

// expireAt sets when the connection is looked at; the zero time: never.
func (l *loop) expireAt(entry *ledger, at time.Time) {
	entry.due = at
	switch {
	case at.IsZero() && entry.place >= 0:
		heap.Remove(&l.expiries, entry.place)
	case at.IsZero():
	case entry.place >= 0:
		heap.Fix(&l.expiries, entry.place)
	default:
		heap.Push(&l.expiries, entry)
	}
}

// expire ends what has run out.
func (l *loop) expire() {
	for len(l.expiries) > 0 && !l.expiries[0].due.After(l.now) {
		entry := l.expiries[0]
		l.expireAt(entry, time.Time{})
		r := l.slab.at(entry.index)
		switch {
		case r.state != open || r.failed:
		case r.protocol.Session():
			l.peer.at(entry.index, r)
			r.session.Expire(&l.engine.Rules, &l.peer)
			l.flush(entry.index, r)
		default:
			l.disconnect(entry.index, r, wire.DisconnectExpired)
		}
		l.reap()
	}
}

// Account implements session.Peer.
func (p *peer) Account(open bool) *session.Account {
	if entry := p.loop.ledger(p.index, open); entry != nil {
		return &entry.account
	}
	return nil
}

// ExpireAt implements session.Peer.
func (p *peer) ExpireAt(at time.Time) {
	if entry := p.loop.ledger(p.index, !at.IsZero()); entry != nil {
		p.loop.expireAt(entry, at)
	}
}

// Now implements session.Peer.
func (p *peer) Now() time.Time { return p.loop.now }

// Work implements session.Peer.
func (p *peer) Work(work func(), done func(error)) {
	l, h := p.loop, p.handle()
	finish := func(err error) {
		l.inbox.post(func() { l.with(h, func() { done(err) }) })
	}
	if err := l.engine.pool.Schedule(func(err error) {
		if err == nil {
			work()
		}
		finish(err)
	}); err != nil {
		finish(err)
	}
}

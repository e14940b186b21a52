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
	// answers is how many bytes the message at hand, or the event, has been answered
	// with.
	answers int
}

var _ session.Peer = (*peer)(nil)

func (p *peer) at(index uint32, r *record) { p.index, p.record, p.answers = index, r, 0 }

func (p *peer) handle() handle { return handle{p.index, p.record.generation} }

func (p *peer) ClientID() string { return p.loop.engine.ids.seal(&p.id, p.loop.number, p.handle()) }

func (p *peer) Send(reply *protocol.Reply) {
	l, before := p.loop, len(p.loop.reply)
	l.engine.Stats.Answered(reply)
	l.reply = wire.AppendReply(l.reply, p.record.protocol, reply)
	size := len(l.reply) - before
	if p.answers += size; p.answers > l.engine.Limits.MaxQueuedBytes && p.answers > size {
		// Whatever its client takes, no message is worth so many answers.
		l.reply = l.reply[:before]
		l.engine.Stats.Dropped.WithLabelValues(wire.DisconnectSlow.Reason).Inc()
		l.disconnect(p.index, p.record, wire.DisconnectSlow)
		return
	}
	l.countReply(size)
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
	p.loop.subscribe(p.index, p.record, serverSide, s, channels...)
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
	if r == nil || r.state != open || r.failed {
		return
	}
	l.peer.at(h.index, r)
	greeted := r.session.Greeted()
	f()
	l.greet(h.index, r, greeted)
	l.flush(h.index, r)
}

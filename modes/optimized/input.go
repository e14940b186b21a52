//go:build linux

package optimized

import (
	"math"
	"time"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

const (
	// never is the due time of input that somebody else watches.
	never time.Duration = math.MaxInt64
	// spareParsers is how many parsers a loop keeps for reuse, and sparePayload
	// the largest message buffer it keeps with one.
	spareParsers = 64
	sparePayload = 16 << 10
)

// input is what a connection has begun to send. It exists only while something
// is unfinished.
type input struct {
	connection handle
	due        time.Duration // when it has to be finished, since the loop's start
	bytes      []byte        // of a request, sent ahead of the 101, or held back
	preface    handshake.Preface
	parser     *parser // of an upgraded connection
}

// input acts on bytes that a connection has sent. They belong to the loop.
func (l *loop) input(index uint32, r *record, data []byte) {
	switch {
	case r.discarding:
		// What it has sent already it may send; it has to stop some time.
		if r.discardedReads++; r.discardedReads == handshake.MaxDiscardedReads {
			l.markFailed(index, r, wire.DisconnectBadRequest.Reason)
		}
	case r.state == requesting:
		l.request(index, r, data)
	case r.state == waiting:
		l.stash(index, r, data)
	default:
		l.messages(index, r, data)
	}
}

// messages acts on the frames in data, until so much is to be sent in answer that
// the client is not heard for now.
func (l *loop) messages(index uint32, r *record, data []byte) {
	p := l.parser
	if r.in != none {
		p = l.inputs.items[r.in].parser
	}
	p.deflate = r.deflate
	greeted := r.session.Greeted()
	completed := false
	var rest []byte
	for {
		var f found
		f, data = p.next(data)
		if f.event == nothing {
			break
		}
		completed = true
		l.act(index, r, &f)
		if r.failed || r.discarding || r.state == closing && r.answered {
			p.reset()
			break
		}
		if len(l.reply) >= replyRoom || r.out != none {
			l.flush(index, r)
			if l.holds(r) {
				rest = data
				break
			}
		}
	}
	l.greet(index, r, greeted)
	switch {
	case len(rest) == 0 && !p.unfinished():
		l.discardInput(r)
		return
	case r.in == none:
		r.in = l.inputs.add(&input{connection: handle{index, r.generation}, due: l.finishBy(), parser: p})
		l.parser = l.newParser()
	case completed:
		l.inputs.items[r.in].due = l.finishBy()
	}
	if len(rest) > 0 {
		l.inputs.items[r.in].bytes = append([]byte(nil), rest...)
	}
}

// resumeInput goes on with what has come from a client and was not acted on when the
// client had too much to take. False: there is none.
func (l *loop) resumeInput(index uint32, r *record) bool {
	if r.in != none {
		if in := l.inputs.items[r.in]; in.parser != nil && len(in.bytes) > 0 {
			held := in.bytes
			in.bytes = nil
			l.messages(index, r, held)
			l.flush(index, r)
			return true
		}
	}
	if s := l.secureOf(index); s != nil && s.held {
		s.held = false
		l.unseal(index, r, s.pipe.in)
		return true
	}
	return false
}

// greet begins to ping a client that has been greeted since before was asked.
func (l *loop) greet(index uint32, r *record, before bool) {
	if !before && r.session.Greeted() && r.state == open {
		l.wheel.arm(index, l.engine.Limits.PingInterval)
	}
}

// finishBy is when a message that begins now has to be complete.
func (l *loop) finishBy() time.Duration { return l.clock() + l.engine.Limits.HandshakeTimeout }

// clock is the time of this turn, since the loop's start: what is measured does not
// depend on what the wall clock is set to.
func (l *loop) clock() time.Duration { return l.now.Sub(l.wheel.start) }

// act acts on one thing that the parser found.
func (l *loop) act(index uint32, r *record, f *found) {
	if f.compressed && r.state == open {
		l.inflate(f)
	}
	switch {
	case f.event == violation:
		if r.state == closing {
			l.closeAnswered(index, r)
			return
		}
		r.discarding = true
		l.shut(index, r, f.end.Reason, wire.CloseFrame(f.end))
	case f.op == ws.OpClose:
		l.closed(index, r, f.payload)
	case r.state != open:
		// After our close frame only the client's counts.
	case f.op == ws.OpPing:
		l.reply = append(wire.AppendHeader(l.reply, ws.OpPong, len(f.payload)), f.payload...)
	case f.op == ws.OpPong:
		if !r.protocol.Session() {
			r.session.Ponged()
		}
	default:
		l.engine.Stats.MessagesIn.Add(1)
		switch r.protocol {
		case wire.Raw:
			// Nothing is expected from a raw client.
		case wire.Echo:
			before := len(l.reply)
			if r.deflate {
				l.reply = wire.AppendDeflated(l.reply, f.op, f.payload)
			} else {
				l.reply = append(wire.AppendHeader(l.reply, f.op, len(f.payload)), f.payload...)
			}
			l.countReply(len(l.reply) - before)
		default:
			l.peer.at(index, r)
			r.session.Handle(&l.engine.Rules, r.protocol, &l.peer, f.payload)
		}
	}
}

// inflate makes a compressed message a plain one, in room that is the loop's, or
// a violation.
func (l *loop) inflate(f *found) {
	payload, err := wire.Inflate(l.inflated[:0], f.op, f.payload, l.engine.Limits.MaxMessageSize)
	if l.inflated = payload; cap(payload) > sparePayload {
		l.inflated = nil
	}
	if err != nil {
		*f = found{event: violation, end: wire.InflateEnd(err)}
		return
	}
	f.payload = payload
}

// closed acts on the client's close frame.
func (l *loop) closed(index uint32, r *record, body []byte) {
	if r.state == closing {
		l.closeAnswered(index, r)
		return
	}
	reply, d := wire.CloseReply(body)
	r.answered = true
	l.shut(index, r, label(d), reply)
}

// countReply counts one frame sent in answer to one received.
func (l *loop) countReply(bytes int) {
	l.engine.Stats.FramesOut.Add(1)
	l.engine.Stats.BytesOut.Add(uint64(bytes))
}

func (l *loop) newParser() *parser {
	if n := len(l.parsers); n > 0 {
		p := l.parsers[n-1]
		l.parsers = l.parsers[:n-1]
		return p
	}
	return &parser{limit: l.engine.Limits.MaxMessageSize}
}

// discardInput gives up what is unfinished, if anything is.
func (l *loop) discardInput(r *record) {
	if r.in == none {
		return
	}
	in := l.inputs.remove(r.in)
	r.in = none
	if in.parser == nil || len(l.parsers) == spareParsers {
		return
	}
	in.parser.reset()
	l.parsers = append(l.parsers, in.parser)
}

// reset makes the parser one that has seen nothing.
func (p *parser) reset() {
	message := p.message[:0]
	if cap(message) > sparePayload {
		message = nil
	}
	*p = parser{limit: p.limit, deflate: p.deflate, message: message}
}

// sweepInputs ends the connections that take too long to finish what they
// began.
func (l *loop) sweepInputs() {
	if len(l.inputs.items) == len(l.inputs.unused) {
		return
	}
	now := l.clock()
	for _, in := range l.inputs.items {
		if in == nil || in.parser == nil || in.due > now {
			continue
		}
		switch r := l.slab.find(in.connection); {
		case r == nil || r.state != open:
		case l.holds(r) || len(in.bytes) > 0:
			// It is not the client for whom it waits.
			in.due = l.finishBy()
		default:
			l.disconnect(in.connection.index, r, wire.DisconnectSlow)
		}
	}
	l.reap()
}

// gap is the telling of one audience that the Redis link broke, which ends the
// subscriptions of sessions.
type gap struct {
	audience *audience
	members  []handle
	frames   [wire.Pushed]wire.Frame
}

// gaps ends subscriptions a few at a time.
type gaps struct {
	queue []gap
	next  time.Time
}

// gapTick is how often some subscriptions are ended.
const gapTick = 20 * time.Millisecond

func (g *gaps) pending() bool { return len(g.queue) > 0 }

// gap notes whom to tell that messages of a's channel may have been missed.
// Those who subscribe from now on have missed nothing.
func (l *loop) gap(a *audience) {
	g := gap{audience: a}
	for _, m := range a.members {
		if r := l.slab.at(m.record); r.protocol.TellsGaps() {
			g.members = append(g.members, handle{m.record, r.generation})
		}
	}
	if len(g.members) == 0 {
		return
	}
	for p := range wire.Pushed {
		g.frames[p] = wire.GapFrame(p, a.channel.name)
	}
	l.gaps.queue = append(l.gaps.queue, g)
}

// endGaps ends as many subscriptions as are due.
func (l *loop) endGaps() {
	if !l.gaps.pending() || l.now.Before(l.gaps.next) {
		return
	}
	l.gaps.next = l.now.Add(gapTick)
	budget := max(1, l.engine.Limits.GapRate*int(gapTick)/int(time.Second)/len(l.engine.loops))
	for ; budget > 0 && l.gaps.pending(); budget-- {
		g := &l.gaps.queue[0]
		last := len(g.members) - 1
		l.tellGap(g, g.members[last])
		if g.members = g.members[:last]; last == 0 {
			*g = gap{}
			l.gaps.queue = l.gaps.queue[1:]
		}
	}
	l.reap()
}

func (l *loop) tellGap(g *gap, h handle) {
	r := l.slab.find(h)
	if r == nil || r.state != open || r.failed {
		return
	}
	slot, has := l.slotOf(r, g.audience)
	if !has || l.subscription(r, slot).position == none {
		return
	}
	l.engine.Stats.Gaps.Add(1)
	if g.audience.members[l.subscription(r, slot).position].place&serverSide != 0 {
		// SDKs do not subscribe again to what the server has subscribed them to.
		l.disconnect(h.index, r, wire.DisconnectInsufficient)
		return
	}
	if r.protocol.Session() {
		l.drop(r, slot)
	}
	l.write(h.index, r, g.frames[r.protocol], true)
	l.countReply(len(g.frames[r.protocol]))
}

//go:build linux

package optimized

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/liveness"
	"github.com/tandem-ws/tandem/modes/optimized/sys"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// failure is a connection that has to end, or that is ending and has its close frame
// due.
type failure struct {
	handle
	// last is what it is sent last, if anything is, before it may close by itself;
	// abort says that it is closed at once instead, and counted under reason.
	last   wire.Frame
	abort  bool
	reason string
}

// markFailed notes that the connection has to end, without a close frame. It ends
// before the loop goes on to the next connection or turn, not here, where lists
// that it is in may be being walked.
func (l *loop) markFailed(index uint32, r *record, reason string) {
	if !r.failed {
		r.failed = true
		l.failed = append(l.failed, failure{handle: handle{index, r.generation}, abort: true, reason: reason})
	}
}

// reap ends the connections that were noted. Nothing else sends a close frame or
// closes a connection, so that whatever writes to one can note that it has to end.
// What it does may note more, which has its turn.
func (l *loop) reap() {
	for i := 0; i < len(l.failed); i++ {
		h := l.failed[i]
		r := l.slab.find(h.handle)
		switch {
		case r == nil:
		case h.abort:
			l.close(h.index, h.reason)
		case !r.failed:
			l.sendLast(h.index, r, h.last)
		}
	}
	clear(l.failed)
	l.failed = l.failed[:0]
}

// close ends a connection, whatever its state, and gives back all it had.
func (l *loop) close(index uint32, reason string) {
	r := l.slab.at(index)
	// Whoever sees the connection gone must find room for another.
	l.engine.Admission.Close(l.sockets.take(index).socket)
	if r.state == securing || r.state == requesting || r.state == waiting {
		l.engine.Stats.Refused.WithLabelValues(reason).Inc()
	} else if r.state == open {
		l.ended(r, reason)
	}
	if l.security != nil {
		l.leaveSecure(index, r)
	}
	l.detach(index, r)
	sys.Close(r.fd)
	l.slab.put(index)
}

// ended counts an upgraded connection that ends or begins to: it has no
// subscriptions any more, and nothing is due to it but a close frame.
func (l *loop) ended(r *record, reason string) {
	l.leaveAll(r)
	l.engine.Stats.Connections[r.protocol].Add(-1)
	l.engine.Stats.Disconnected.WithLabelValues(reason).Inc()
	if l.engine.Log.Enabled(context.Background(), slog.LevelDebug) {
		l.engine.Log.Debug("connection ended", "loop", l.number, "fd", r.fd, "protocol", r.protocol.String(), "reason", reason)
	}
}

// leaveAll ends all the connection's subscriptions.
func (l *loop) leaveAll(r *record) {
	for r.first.audience != none {
		l.drop(r, 0)
	}
}

// detach takes the record out of everything but the slab; its descriptor stays
// open.
func (l *loop) detach(index uint32, r *record) {
	l.wheel.disarm(index)
	l.forgetWatch(index)
	l.leaveAll(r)
	l.leaveAddress(index)
	l.closeLedger(index)
	if r.in != none {
		l.discardInput(r)
	}
	if r.out != none {
		o := l.outboxes.remove(r.out)
		r.out = none
		l.engine.Stats.Queued.Add(-int64(o.queued()))
		dropped := 0
		for _, buffer := range o.buffers {
			dropped += countFrames(r.protocol, buffer)
		}
		l.engine.Stats.Dropped.WithLabelValues(modes.ReasonConnectionEnded).Add(float64(dropped))
	}
}

// leaveAddress ends what counts the connection as one of its address.
func (l *loop) leaveAddress(index uint32) {
	if len(l.addresses) > 0 {
		l.engine.Admission.Remove(l.addresses[index])
		delete(l.addresses, index)
	}
}

// disconnect has a close frame sent, or what its protocol has for one, after what is
// queued and what is in l.reply for it, and waits for the client to close. The
// connection is out of all audiences at once.
func (l *loop) disconnect(index uint32, r *record, d wire.Disconnect) {
	switch {
	case r.failed || r.state == closing:
	case r.state != open:
		l.markFailed(index, r, d.Reason)
	default:
		l.shut(index, r, label(d), wire.EndFrame(r.protocol, d))
	}
}

// label is what a disconnect is counted as.
func label(d wire.Disconnect) string {
	if d.Code == wire.DisconnectNormal.Code {
		return modes.ReasonClientClosed
	}
	return d.Reason
}

// shut begins to close an open connection; last, if there is such a frame, is the
// last that it is sent. The client then has CloseWait to answer.
func (l *loop) shut(index uint32, r *record, reason string, last wire.Frame) {
	if l.holds(r) {
		// Of what it sends its close frame still counts.
		l.again = append(l.again, handle{index, r.generation})
	}
	l.ended(r, reason)
	r.state = closing
	l.forgetWatch(index)
	l.failed = append(l.failed, failure{handle: handle{index, r.generation}, last: last})
}

// sendLast sends the last frame of a connection that is closing, if there is one.
func (l *loop) sendLast(index uint32, r *record, frame wire.Frame) {
	l.wheel.arm(index, modes.CloseWait)
	switch {
	case r.out != none:
		if len(frame) > 0 {
			l.keep(l.outboxes.items[r.out], frame, 0, true)
		}
		l.flushOutbox(index, r)
		if r.out != none && !r.failed {
			l.watch(index).Begin(modes.Now(), liveness.ReadFlow(int(r.fd)))
		}
		return
	case len(frame) > 0:
		l.write(index, r, frame, true)
	}
	if r.out == none && !r.failed {
		l.sentAll(index, r)
	}
}

// inputEnded acts on the end of what a client sends: it may go on to take what is
// queued for it.
func (l *loop) inputEnded(index uint32, r *record) {
	switch {
	case r.state == closing:
		l.closeAnswered(index, r)
	case r.state == open && r.out != none:
		r.answered, r.discarding = true, true
		l.shut(index, r, endReason(r), nil)
	default:
		l.markFailed(index, r, endReason(r))
	}
}

// closeAnswered notes that a client whose connection is being closed will send
// nothing more that counts. It is still sent what is due to it.
func (l *loop) closeAnswered(index uint32, r *record) {
	if r.answered {
		return
	}
	r.answered = true
	if r.out == none {
		// Not at once: the close frame may be among what reap has yet to do.
		l.failed = append(l.failed, failure{handle: handle{index, r.generation}})
	}
}

// sentAll goes on with a connection whose close frame has gone out. Where the
// client's has come, or will not come or be understood, our side of the stream is done:
// the client sees the end behind the close frame, and a reset cannot overtake
// it, as it would if the socket were closed with unread bytes.
func (l *loop) sentAll(index uint32, r *record) {
	switch {
	case r.answered:
		l.markFailed(index, r, "")
	case r.discarding:
		if l.security != nil {
			l.bye(index, r)
		}
		_ = unix.Shutdown(int(r.fd), unix.SHUT_WR)
	}
}

// fire acts on a connection whose deadline has come.
func (l *loop) fire(index uint32) {
	r := l.slab.at(index)
	switch r.state {
	case securing, requesting:
		l.refuseHandshake(index, r, handshake.RefusedTimeout)
	case open:
		l.ping(index, r)
	case closing:
		l.closeOverdue(index, r)
	}
}

// queuedFor is how many bytes wait for a connection.
func (l *loop) queuedFor(r *record) int {
	if r.out == none {
		return 0
	}
	return l.outboxes.items[r.out].queued()
}

// watch returns what is known of a connection that is overdue.
func (l *loop) watch(index uint32) *liveness.Watch {
	w := l.watches[index]
	if w == nil {
		w = new(liveness.Watch)
		l.watches[index] = w
	}
	return w
}

// forgetWatch ends what watch has begun, if anything.
func (l *loop) forgetWatch(index uint32) {
	if len(l.watches) > 0 {
		delete(l.watches, index)
	}
}

// closeOverdue ends a connection that takes too long to close, unless its client is
// still receiving.
func (l *loop) closeOverdue(index uint32, r *record) {
	wait, over := l.watch(index).Closing(modes.Now(), liveness.ReadFlow(int(r.fd)), l.queuedFor(r))
	if over {
		l.markFailed(index, r, "")
		return
	}
	l.wheel.arm(index, wait)
}

// pongOverdue ends a connection that has not answered a ping, unless its client has
// not received that yet.
func (l *loop) pongOverdue(index uint32, r *record) {
	wait, d, over := l.watch(index).Pong(modes.Now(), liveness.ReadFlow(int(r.fd)), l.queuedFor(r), l.holds(r), &l.engine.Limits)
	if over {
		l.disconnect(index, r, d)
		return
	}
	l.wheel.arm(index, wait)
}

// writeOverdue ends a connection that is not pinged and takes nothing.
func (l *loop) writeOverdue(index uint32, r *record) {
	if r.out == none {
		l.forgetWatch(index)
		return
	}
	timeout := liveness.WriteTimeout(&l.engine.Limits)
	if l.watch(index).Stalled(modes.Now(), liveness.ReadFlow(int(r.fd)), timeout) {
		l.disconnect(index, r, wire.DisconnectSlow)
		return
	}
	l.wheel.arm(index, liveness.CheckInterval(timeout))
}

// ping asks an open connection whether it is there, or finds that it has not
// answered.
func (l *loop) ping(index uint32, r *record) {
	limits := &l.engine.Limits
	switch {
	case r.protocol.OverHTTP():
		l.keepAlive(index, r)
	case r.protocol.Session() && !r.session.Connected():
		l.disconnect(index, r, wire.DisconnectStale)
	case r.protocol.Session() && !r.session.Greeted():
		// It is we who owe an answer, and Redis us; the client may try again.
		l.wheel.arm(index, limits.HandshakeTimeout)
	case limits.PingInterval == 0:
		l.writeOverdue(index, r)
	case r.session.AwaitingPong():
		l.pongOverdue(index, r)
	case r.pinged:
		l.forgetWatch(index)
		r.pinged = false
		l.wheel.arm(index, max(limits.PingInterval-limits.PongTimeout, tick))
	default:
		r.pinged = true
		r.session.Pinged()
		l.wheel.arm(index, limits.PongTimeout)
		frame := l.engine.pings[r.protocol]
		l.engine.Stats.FramesOut.Add(1)
		l.engine.Stats.BytesOut.Add(uint64(len(frame)))
		l.write(index, r, frame, true)
	}
}

// endReason is what an end of the stream without our doing is counted as.
func endReason(r *record) string {
	switch {
	case r.state == securing, r.state == requesting, r.state == waiting:
		return modes.ReasonGone
	case r.protocol.OverHTTP():
		return modes.ReasonClientClosed
	}
	return modes.ReasonNoClose
}

func resetReason(r *record) string {
	if r.state == securing || r.state == requesting || r.state == waiting {
		return modes.ReasonGone
	}
	return modes.ReasonReset
}

// refuseHandshake refuses a connection that is not upgraded yet. One that has
// sent nothing is closed without a word: browsers open some ahead of need, and
// would take what comes for the answer to the request they send next. Nor can
// anything be said before the TLS handshake is over.
func (l *loop) refuseHandshake(index uint32, r *record, refusal *admission.Refusal) {
	if r.state == securing || r.state == requesting && r.in == none {
		l.markFailed(index, r, refusal.Reason)
		return
	}
	l.refuse(index, r, refusal)
}

// drain is the closing of all connections of a loop, spread over time.
type drain struct {
	next  time.Time // when to look again
	due   time.Time // when to close more
	until time.Time
	index uint32 // the first record that is not closed yet
	left  int    // records up to the last one
	done  func()
}

// drainTick is how often a drain closes some.
const drainTick = 20 * time.Millisecond

// drain stops accepting and begins to close the connections. done is called when
// they are gone, or the loop ends.
func (l *loop) drain(spread time.Duration, done func()) {
	if l.draining != nil {
		done()
		return
	}
	l.closeListener()
	l.draining = &drain{next: l.now, due: l.now, until: l.now.Add(spread), left: int(l.slab.top), done: done}
	l.drainSome()
}

// drainSome closes the share of connections that is due by now.
func (l *loop) drainSome() {
	d := l.draining
	if d == nil || l.now.Before(d.next) {
		return
	}
	d.next = l.now.Add(drainTick)
	turns := max(int(d.until.Sub(l.now)/drainTick), 0) + 1
	share := (d.left + turns - 1) / turns
	if l.now.Before(d.due) {
		share = 0
	}
	for ; share > 0 && d.left > 0; share-- {
		if r := l.slab.at(d.index); r.state == open {
			l.disconnect(d.index, r, wire.DisconnectShutdown)
		} else if r.state == securing || r.state == requesting || r.state == waiting {
			l.refuseHandshake(d.index, r, handshake.RefusedDraining)
		}
		d.index++
		d.left--
		if d.left > 0 && d.left < turns {
			// Fewer than there are ticks left.
			d.due = l.now.Add(d.until.Sub(l.now) / time.Duration(d.left))
		}
	}
	l.reap()
	if l.slab.live == 0 {
		l.draining.done()
		l.draining = nil
	}
}

// disconnectClient closes a connection on request of the server API.
func (l *loop) disconnectClient(h handle, d wire.Disconnect) bool {
	r := l.slab.find(h)
	if r == nil || r.state != open {
		return false
	}
	l.disconnect(h.index, r, d)
	return true
}

//go:build linux

package optimized

import (
	"bytes"
	"errors"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/optimized/sys"
)

// request takes bytes of a request, and acts on it once its headers are
// complete.
func (l *loop) request(index uint32, r *record, data []byte) {
	if r.in == none {
		if end := headEnd(data); end >= 0 {
			l.upgrade(index, r, data, end)
			return
		}
		r.in = l.inputs.add(&input{connection: handle{index, r.generation}})
	}
	in := l.inputs.items[r.in]
	from := max(0, len(in.bytes)-len("\n\r\n")+1)
	in.bytes = append(in.bytes, data...)
	if end := headEnd(in.bytes[from:]); end >= 0 {
		received := in.bytes
		l.discardInput(r)
		l.upgrade(index, r, received, from+end)
		return
	}
	switch {
	case len(in.bytes) > l.engine.Limits.HeaderSize():
		l.refuse(index, r, handshake.RefusedTooLarge)
	case in.preface.Foreign(data):
		l.refuse(index, r, handshake.RefusedNotHTTP)
	case malformed(in.bytes, len(in.bytes)-len(data)):
		// net/http need not wait for the rest to refuse it.
		l.handOver(index, r, in.bytes)
	}
}

// malformed reports whether one of the lines that have become complete since there
// were before bytes of a request is malformed.
func malformed(request []byte, before int) bool {
	start := bytes.LastIndexByte(request[:before], '\n') + 1
	for {
		line, _, complete := bytes.Cut(request[start:], []byte{'\n'})
		if !complete {
			return false
		}
		if handshake.Malformed(line, start == 0) {
			return true
		}
		start += len(line) + 1
	}
}

// upgrade acts on a complete request: the first size bytes of received. What
// follows it was sent ahead, and is not lost.
func (l *loop) upgrade(index uint32, r *record, received []byte, size int) {
	if size > l.engine.Limits.HeaderSize() {
		l.refuse(index, r, handshake.RefusedTooLarge)
		return
	}
	h := l.handshaker
	if refusal := l.sockets.refusal(index); refusal != nil {
		l.refuseExcess(index, r, refusal, received, size)
		return
	}
	h.came = modes.Now()
	err := h.run(r.fd, received[:size])
	if err == errPlain { //nolint:errorlint // it is never wrapped
		l.handOver(index, r, received)
		return
	}
	l.answer(index, r, err, received[size:])
}

// refuseExcess answers the request of a connection over a limit. net/http does so if
// it is not in the plainest form, or if scripts may read the answer.
func (l *loop) refuseExcess(index uint32, r *record, refusal *admission.Refusal, received []byte, size int) {
	h := l.handshaker
	h.reset(r.fd)
	if _, stream := h.stream(received[:size]); stream || !h.inspect(received[:size]) {
		l.handOver(index, r, received)
		return
	}
	l.refuse(index, r, refusal)
}

// answer acts on what the handshaker has decided on a request. ahead was sent behind
// it.
func (l *loop) answer(index uint32, r *record, err error, ahead []byte) {
	h := l.handshaker
	if h.address != (admission.Address{}) {
		l.addresses[index] = h.address
	}
	var refusal *admission.Refusal
	switch {
	case err == nil:
		r.protocol, r.deflate = h.protocol, h.extension != ""
		if r.protocol.ByQuery() {
			l.upgradeByQuery(index, r, ahead)
			if r.state == open {
				// The channels were there already.
				l.unstash(index, r)
			}
			return
		}
		l.respond(index, r, h.response)
		l.opened(index, r)
		l.engine.Stats.HandshakeTime.Observe(h.came.Seconds())
		if len(ahead) > 0 && !r.failed {
			l.messages(index, r, ahead)
		}
	case errors.As(err, &refusal):
		l.refuseWith(index, r, refusal, h.share)
	}
}

// opened makes the connection an upgraded one.
func (l *loop) opened(index uint32, r *record) {
	r.state = open
	l.engine.Stats.Connections[r.protocol].Add(1)
	l.engine.accepted[r.protocol].Inc()
	wait := l.engine.Limits.HandshakeTimeout
	if !r.protocol.Session() {
		wait = l.engine.Limits.PingInterval
	}
	l.wheel.arm(index, wait)
	if r.protocol.OverHTTP() {
		l.watchAcknowledged(r)
	}
}

// upgradeByQuery asks for the channels of a connection that names them in its
// query; the 101, or 200, goes out once Redis has confirmed them all.
func (l *loop) upgradeByQuery(index uint32, r *record, ahead []byte) {
	channels, refusal := handshake.Channels(&l.engine.Rules, string(l.handshaker.query))
	if refusal == nil && l.engine.Bus.Ready() != nil {
		// Others on this node may have the channels; what is being missed now nobody
		// could tell this client.
		refusal = handshake.RefusedUnavailable
	}
	if refusal != nil {
		l.refuseWith(index, r, refusal, l.handshaker.share)
		return
	}
	r.state, r.discarding = waiting, r.protocol.OverHTTP()
	l.wheel.disarm(index)
	if len(ahead) > 0 && !r.discarding {
		l.stash(index, r, ahead)
	}
	response, share, came := bytes.Clone(l.handshaker.response), l.handshaker.share, l.handshaker.came
	l.authorize(index, r, channels, func(expires time.Time) {
		l.subscribe(index, r, false, outcome(func(err error) {
			if err != nil {
				l.refuseWith(index, r, handshake.RefusedUnavailable, share)
				return
			}
			l.respond(index, r, response)
			l.opened(index, r)
			l.engine.Stats.HandshakeTime.Observe(came.Seconds())
			if !expires.IsZero() && r.state == open {
				l.expireAt(l.ledger(index, true), expires)
			}
		}), channels...)
	})
}

// outcome is the session.Subscriber of a connection by query: it has no commands
// that could wait.
type outcome func(error)

func (o outcome) Confirmed(err error) { o(err) }
func (o outcome) Finished()           {}

// authorize goes on with a connection by query whose tokens allow it the channels,
// and refuses others. It may do so later.
func (l *loop) authorize(index uint32, r *record, channels []string, then func(expires time.Time)) {
	tokens := l.engine.Rules.Tokens
	if tokens == nil {
		then(time.Time{})
		return
	}
	h, share := handle{index, r.generation}, l.handshaker.share
	query, authorization := string(l.handshaker.query), string(l.handshaker.authorization)
	decide := func(expires time.Time, refusal *admission.Refusal) {
		if refusal != nil {
			l.refuseWith(index, r, refusal, share)
			return
		}
		then(expires)
	}
	if !tokens.Costly() {
		decide(handshake.Authorize(&l.engine.Rules, query, authorization, channels))
		return
	}
	finish := func(expires time.Time, refusal *admission.Refusal) {
		l.inbox.post(func() {
			if r := l.slab.find(h); r != nil && r.state == waiting && !r.failed {
				decide(expires, refusal)
				if r.state == open {
					l.unstash(index, r)
					l.flush(index, r)
				}
			}
		})
	}
	if err := l.engine.pool.Schedule(func(err error) {
		if err != nil {
			finish(time.Time{}, handshake.RefusedBusy)
			return
		}
		finish(handshake.Authorize(&l.engine.Rules, query, authorization, channels))
	}); err != nil {
		finish(time.Time{}, handshake.RefusedBusy)
	}
}

// stash keeps what a client sends before its 101, which few do.
func (l *loop) stash(index uint32, r *record, data []byte) {
	if r.in == none {
		r.in = l.inputs.add(&input{connection: handle{index, r.generation}, due: never})
	}
	in := l.inputs.items[r.in]
	if in.bytes = append(in.bytes, data...); len(in.bytes) > l.engine.Limits.HeaderSize() {
		l.refuse(index, r, handshake.RefusedTooLarge)
	}
}

// unstash hands on what was stashed.
func (l *loop) unstash(index uint32, r *record) {
	if r.in == none || r.failed {
		return
	}
	stashed := l.inputs.items[r.in].bytes
	l.discardInput(r)
	l.messages(index, r, stashed)
}

// respond writes an HTTP response. A socket that does not take these few bytes
// at once is not worth keeping.
func (l *loop) respond(index uint32, r *record, response []byte) {
	if l.security != nil {
		if !l.seal(index, r, response) || !l.transmit(index, r) {
			l.markFailed(index, r, modes.ReasonGone)
		}
		return
	}
	if n, errno := sys.Send(r.fd, response); errno != 0 || n < len(response) {
		l.markFailed(index, r, modes.ReasonGone)
	}
}

// refuse answers a handshake with a refusal and closes the connection.
func (l *loop) refuse(index uint32, r *record, refusal *admission.Refusal) {
	l.refuseWith(index, r, refusal, "")
}

// refuseWith is refuse with more headers in the answer.
func (l *loop) refuseWith(index uint32, r *record, refusal *admission.Refusal, headers string) {
	l.engine.Stats.Refuse(refusal)
	l.leaveAddress(index)
	// Before the answer: whoever has it must find room for another connection. If
	// there is none for this one, turnAway ends it.
	_ = l.turnAwaySocket(index)
	l.respond(index, r, handshake.Response(refusal, headers))
	l.turnAway(index, r)
}

// turnAway closes a connection whose response is written, and which has been
// counted.
func (l *loop) turnAway(index uint32, r *record) {
	if r.failed {
		return
	}
	l.leaveAll(r)
	r.state, r.discarding = closing, true
	if !l.turnAwaySocket(index) {
		l.markFailed(index, r, "")
		return
	}
	l.wheel.arm(index, admission.RefusalTime)
	l.sentAll(index, r)
}

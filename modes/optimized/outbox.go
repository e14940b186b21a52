//go:build linux

package optimized

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/liveness"
	"github.com/tandem-ws/tandem/modes/optimized/sys"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// vectors is the most buffers that leave in one writev.
const vectors = 64

// outbox is what a connection's socket does not take yet: whole frames, one or
// several in each buffer, by reference.
type outbox struct {
	buffers [][]byte
	sent    int // bytes of the first buffer that are gone already
	bytes   int // that are due
	// sealed goes before them: what is encrypted already.
	sealed []byte
	// large is set while a frame that is larger than the bound by itself is being
	// sent, and largeLeft is what is left of it. It does not count.
	large     bool
	largeLeft int
	// cut says that the client was too slow: only a close frame may be added.
	cut bool
	// hold is how many bytes have to go before the client is read again; 0: it is
	// being read.
	hold int
}

// queued is how many bytes o holds.
func (o *outbox) queued() int { return o.bytes + len(o.sealed) }

// waiting is how many of them count towards the bound.
func (o *outbox) waiting() int {
	if o.large {
		return o.bytes - o.largeLeft
	}
	return o.queued()
}

// crowdedShare is the part of MaxQueuedBytes above which a client is not read, so
// that one that sends faster than it takes the answers is slowed down and not cut.
const crowdedShare = 32

// write sends buffer, which holds whole frames, or what the socket does not take of
// it later. shared says that nobody will write to buffer again; otherwise what is
// left is copied. It never ends the connection: it notes that it has to end.
func (l *loop) write(index uint32, r *record, buffer []byte, shared bool) {
	if r.failed {
		return
	}
	if l.security != nil {
		l.writeSecure(index, r, buffer, shared)
		return
	}
	if r.out != none {
		l.enqueue(index, r, buffer, shared)
		return
	}
	n, errno := sys.Send(r.fd, buffer)
	switch {
	case n == len(buffer):
	case errno == 0, errno == unix.EAGAIN:
		l.enqueueFirst(index, r, buffer, n, shared)
	default:
		l.markFailed(index, r, writeReason(errno))
	}
}

// enqueueFirst keeps the buffer, of which sent bytes are gone. Nothing else waits,
// so that its first frame may have any size.
func (l *loop) enqueueFirst(index uint32, r *record, buffer []byte, sent int, shared bool) {
	if r.out == none {
		r.out = l.outboxes.add(new(outbox))
	}
	o := l.outboxes.items[r.out]
	l.keep(o, buffer, sent, shared)
	if l.engine.Limits.PingInterval == 0 && r.state == open && r.timer.slot == none {
		// No ping will find out that the client takes nothing.
		l.wheel.arm(index, liveness.CheckInterval(liveness.WriteTimeout(&l.engine.Limits)))
	}
	if o.bytes <= l.engine.Limits.MaxQueuedBytes {
		return
	}
	if first := nextFrame(r.protocol, buffer, sent); first == len(buffer) {
		o.large, o.largeLeft = true, o.bytes
		return
	}
	l.cut(index, r, o, 0)
}

// enqueue keeps the buffer behind what waits already.
func (l *loop) enqueue(index uint32, r *record, buffer []byte, shared bool) {
	o := l.outboxes.items[r.out]
	switch {
	case o.cut:
		l.engine.Stats.Dropped.WithLabelValues(wire.DisconnectSlow.Reason).Add(float64(countFrames(r.protocol, buffer)))
	case o.waiting()+len(buffer) > l.engine.Limits.MaxQueuedBytes:
		l.cut(index, r, o, countFrames(r.protocol, buffer))
	default:
		l.keep(o, buffer, 0, shared)
	}
}

// keep adds the buffer, of which sent bytes are gone.
func (l *loop) keep(o *outbox, buffer []byte, sent int, shared bool) {
	if shared {
		l.kept = true
	} else {
		buffer = append([]byte(nil), buffer...)
	}
	if len(o.buffers) == 0 {
		o.sent = sent
	}
	o.buffers = append(o.buffers, buffer)
	o.bytes += len(buffer) - sent
	l.engine.Stats.Queued.Add(int64(len(buffer) - sent))
}

// cut gives up on a slow client: what is queued is dropped but for the rest of
// the frame that has begun, and the close frame follows that. dropped is how many
// frames more are lost to it.
func (l *loop) cut(index uint32, r *record, o *outbox, dropped int) {
	o.cut = true
	if len(o.buffers) > 0 {
		first := o.buffers[0]
		rest := first[:frameEnd(r.protocol, first, o.sent)]
		dropped += countFrames(r.protocol, first[len(rest):])
		for _, buffer := range o.buffers[1:] {
			dropped += countFrames(r.protocol, buffer)
		}
		l.engine.Stats.Queued.Add(int64(len(rest) - o.sent - o.bytes))
		// A copy, so that one slow client does not keep a whole batch in memory.
		o.buffers = [][]byte{append([]byte(nil), rest...)}
		o.bytes = len(rest) - o.sent
		if o.bytes == 0 {
			o.buffers, o.sent = nil, 0
		}
	}
	l.engine.Stats.Dropped.WithLabelValues(wire.DisconnectSlow.Reason).Add(float64(dropped))
	l.disconnect(index, r, wire.DisconnectSlow)
}

// flushOutbox writes what the socket takes now.
func (l *loop) flushOutbox(index uint32, r *record) {
	o := l.outboxes.items[r.out]
	held := o.hold > 0
	drained := false
	if l.security != nil {
		drained = l.flushSecure(index, r, o)
	} else {
		drained = l.flushPlain(index, r, o)
	}
	if r.failed {
		return
	}
	if drained {
		l.outboxes.remove(r.out)
		r.out = none
	}
	if held && (drained || o.hold == 0) {
		l.again = append(l.again, handle{index, r.generation})
	}
	if drained && r.state == closing {
		// Only now the client can begin to answer.
		l.wheel.arm(index, modes.CloseWait)
		l.sentAll(index, r)
	}
}

// flushPlain reports whether the socket has taken everything.
func (l *loop) flushPlain(index uint32, r *record, o *outbox) bool {
	for len(o.buffers) > 0 {
		n, err := l.writev(int(r.fd), o)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil:
			l.markFailed(index, r, writeReason(err))
			return false
		}
		l.taken(o, n)
		o.gone(n)
	}
	return true
}

// taken takes the next n bytes out of what is due.
func (l *loop) taken(o *outbox, n int) {
	o.bytes -= n
	l.engine.Stats.Queued.Add(-int64(n))
	o.sent += n
	for len(o.buffers) > 0 && o.sent >= len(o.buffers[0]) {
		o.sent -= len(o.buffers[0])
		o.buffers[0] = nil
		o.buffers = o.buffers[1:]
	}
	o.largeLeft = max(0, o.largeLeft-n)
}

// gone notes that the socket has taken n bytes.
func (o *outbox) gone(n int) {
	o.hold = max(0, o.hold-n)
	if o.largeLeft == 0 && len(o.sealed) == 0 {
		o.large = false
	}
}

// holds reports whether an open connection is not read for now: until what waits
// for its client is gone, which is not more than has been decided on once, so that
// a client which is always behind is still heard.
func (l *loop) holds(r *record) bool {
	if r.out == none || r.state != open {
		return false
	}
	o := l.outboxes.items[r.out]
	if o.hold == 0 {
		if n := o.queued(); n > l.engine.Limits.MaxQueuedBytes/crowdedShare {
			o.hold = n
		}
	}
	return o.hold > 0
}

func (l *loop) writev(fd int, o *outbox) (int, error) {
	if len(o.buffers) == 1 {
		return unix.Write(fd, o.buffers[0][o.sent:])
	}
	var room [vectors][]byte
	batch := append(room[:0], o.buffers[0][o.sent:])
	batch = append(batch, o.buffers[1:min(vectors, len(o.buffers))]...)
	return unix.Writev(fd, batch)
}

const (
	// replyRoom is how many bytes of replies are gathered before they are sent
	// while a client's messages are being handled.
	replyRoom = 64 << 10
	// spareReply is the largest buffer for replies that a loop keeps.
	spareReply = 256 << 10
)

// flush sends what handling the connection has put into l.reply.
func (l *loop) flush(index uint32, r *record) {
	if len(l.reply) > 0 {
		l.write(index, r, l.reply, false)
		if l.reply = l.reply[:0]; cap(l.reply) > spareReply {
			l.reply = nil
		}
	}
}

// frameLength returns the length of the frame that buffer begins with, or of the
// message, in a protocol over HTTP.
func frameLength(p wire.Protocol, buffer []byte) int {
	if p.OverHTTP() {
		return p.FrameEnd(buffer)
	}
	switch buffer[1] & 0x7f {
	case 126:
		return 4 + int(binary.BigEndian.Uint16(buffer[2:]))
	case 127:
		return wire.MaxHeader + int(binary.BigEndian.Uint64(buffer[2:]))
	}
	return 2 + int(buffer[1]&0x7f)
}

// frameEnd returns where the frame ends that contains the byte before offset, in
// a buffer of whole frames.
func frameEnd(p wire.Protocol, buffer []byte, offset int) int {
	end := 0
	for end < offset {
		end += frameLength(p, buffer[end:])
	}
	return end
}

// nextFrame returns where the first frame ends that offset does not lie behind, in
// a buffer of whole frames.
func nextFrame(p wire.Protocol, buffer []byte, offset int) int {
	end := frameEnd(p, buffer, offset)
	if end == offset && end < len(buffer) {
		end += frameLength(p, buffer[end:])
	}
	return end
}

func countFrames(p wire.Protocol, buffer []byte) (n int) {
	for len(buffer) > 0 {
		buffer = buffer[frameLength(p, buffer):]
		n++
	}
	return n
}

func writeReason(err error) string {
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return modes.ReasonReset
	}
	return wire.DisconnectWriteError.Reason
}

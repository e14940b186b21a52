//go:build linux

package optimized

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes"
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
}

// write sends buffer, or what the socket does not take of it later. shared says
// that nobody will write to buffer again; otherwise what is left is copied.
func (l *loop) write(index uint32, r *record, buffer []byte, shared bool) {
	if r.hurt {
		return
	}
	if l.security != nil {
		l.writeSecure(index, r, buffer, shared)
		return
	}
	if r.out != none {
		l.enqueue(index, r, buffer, 0, shared)
		return
	}
	n, errno := writeSocket(r.fd, buffer)
	switch {
	case n == len(buffer):
	case errno == 0:
		l.enqueue(index, r, buffer, n, shared)
	case errno == unix.EAGAIN:
		l.enqueue(index, r, buffer, 0, shared)
	default:
		l.hurtBy(index, r, writeReason(errno))
	}
}

// enqueue keeps the buffer, of which sent bytes are gone.
func (l *loop) enqueue(index uint32, r *record, buffer []byte, sent int, shared bool) {
	if r.out == none {
		r.out = l.outboxes.add(new(outbox))
	}
	o := l.outboxes.items[r.out]
	due := len(buffer) - sent
	if o.bytes+len(o.sealed)+due > l.engine.Limits.MaxQueuedBytes && r.state != closing {
		if len(o.buffers) == 0 {
			// What has begun has to end with its frame.
			o.buffers, o.sent, o.bytes = [][]byte{buffer}, sent, due
			l.engine.Stats.Queued.Add(int64(due))
			buffer = nil
		}
		l.cut(index, r, o, countFrames(r.protocol, buffer))
		return
	}
	if shared {
		l.kept = true
	} else {
		buffer = append([]byte(nil), buffer...)
	}
	if len(o.buffers) == 0 {
		o.sent = sent
	}
	o.buffers = append(o.buffers, buffer)
	o.bytes += due
	l.engine.Stats.Queued.Add(int64(due))
}

// cut gives up on a slow client: what is queued is dropped but for the rest of
// the frame that has begun, and the close frame follows that. dropped is how many
// frames more are lost to it.
func (l *loop) cut(index uint32, r *record, o *outbox, dropped int) {
	first := o.buffers[0]
	rest := first[:frameEnd(r.protocol, first, o.sent)]
	dropped += countFrames(r.protocol, first[len(rest):])
	for _, buffer := range o.buffers[1:] {
		dropped += countFrames(r.protocol, buffer)
	}
	l.engine.Stats.Dropped.WithLabelValues(wire.DisconnectSlow.Reason).Add(float64(dropped))
	l.engine.Stats.Queued.Add(int64(len(rest) - o.sent - o.bytes))
	// A copy, so that one slow client does not keep a whole batch in memory.
	o.buffers = [][]byte{append([]byte(nil), rest...)}
	o.bytes = len(rest) - o.sent
	if o.bytes == 0 {
		o.buffers, o.sent = nil, 0
	}
	l.disconnect(index, r, wire.DisconnectSlow)
}

// flushOutbox writes what the socket takes now.
func (l *loop) flushOutbox(index uint32, r *record) {
	if l.security != nil {
		l.flushSecure(index, r)
		return
	}
	o := l.outboxes.items[r.out]
	for len(o.buffers) > 0 {
		n, err := l.writev(int(r.fd), o)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			l.hurtBy(index, r, writeReason(err))
			return
		}
		l.taken(o, n)
	}
	l.outboxes.remove(r.out)
	r.out = none
	if r.state == closing {
		l.sentAll(index, r)
	}
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

// flush sends what handling the connection has put into l.reply.
func (l *loop) flush(index uint32, r *record) {
	if len(l.reply) > 0 {
		l.write(index, r, l.reply, false)
		l.reply = l.reply[:0]
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

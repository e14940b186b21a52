//go:build linux

package optimized

import "github.com/tandem-ws/tandem/modes/protocol/wire"

// joinLimit is how many bytes of frames are joined into one buffer, and so into
// one write.
const joinLimit = 128 << 10

// batch is what one turn of the loop has for one audience, by form.
type batch struct {
	frames  [wire.Forms][]wire.Frame
	buffers [wire.Forms][][]byte // the frames, joined where there are several
	joined  [][]byte             // those of the buffers that are the loop's own
}

// fanOut sends all publications of a turn. Those of one channel are grouped, and
// leave in as few writes per connection as their size allows.
func (l *loop) fanOut(publications []publication) {
	for i := range publications {
		a := publications[i].audience
		if len(a.members) == 0 {
			continue
		}
		if a.batch == nil {
			a.batch = l.newBatch()
			l.due = append(l.due, a)
		}
		for form, frame := range publications[i].frames {
			if frame != nil {
				a.batch.frames[form] = append(a.batch.frames[form], frame)
			}
		}
	}
	for i, a := range l.due {
		l.send(a)
		l.due[i] = nil
	}
	l.due = l.due[:0]
	l.reap()
}

// send writes a's batch to every member.
func (l *loop) send(a *audience) {
	b := a.batch
	a.batch = nil
	for form := range b.frames {
		l.joinFrames(b, form)
	}
	l.kept = false
	var frames, bytes uint64
	// From the end: a member that leaves in the middle has its place taken by
	// the last, which has had its turn.
	for i := len(a.members) - 1; i >= 0; i-- {
		index := a.members[i].record
		r := l.slab.at(index)
		form := r.form()
		frames += uint64(len(b.frames[form]))
		for _, buffer := range b.buffers[form] {
			if r.state != open || r.failed {
				break
			}
			bytes += uint64(len(buffer))
			l.write(index, r, buffer, true)
		}
	}
	l.engine.Stats.FramesOut.Add(frames)
	l.engine.Stats.BytesOut.Add(bytes)
	l.recycle(b)
}

// joinFrames joins the frames of one form into as few buffers as joinLimit
// allows. A buffer of one frame is the frame itself.
func (l *loop) joinFrames(b *batch, form int) {
	for frames := b.frames[form]; len(frames) > 0; {
		n, size := 1, len(frames[0])
		for n < len(frames) && size+len(frames[n]) <= joinLimit {
			size += len(frames[n])
			n++
		}
		if n == 1 {
			b.buffers[form] = append(b.buffers[form], frames[0])
		} else {
			joined := l.joinBuffer(size)
			for _, frame := range frames[:n] {
				joined = append(joined, frame...)
			}
			b.buffers[form] = append(b.buffers[form], joined)
			b.joined = append(b.joined, joined)
		}
		frames = frames[n:]
	}
}

// joinBuffer returns an empty buffer with room for size bytes.
func (l *loop) joinBuffer(size int) []byte {
	for n := len(l.joined); n > 0; n = len(l.joined) {
		buffer := l.joined[n-1]
		l.joined = l.joined[:n-1]
		if cap(buffer) >= size {
			return buffer[:0]
		}
	}
	return make([]byte, 0, size)
}

func (l *loop) newBatch() *batch {
	if n := len(l.batches); n > 0 {
		b := l.batches[n-1]
		l.batches = l.batches[:n-1]
		return b
	}
	return new(batch)
}

const (
	// spareBatches is how many batches a loop keeps for reuse, spareJoined how
	// many buffers.
	spareBatches = 64
	spareJoined  = 16
)

// recycle keeps a batch for reuse, and its joined buffers unless a slow client
// still needs one.
func (l *loop) recycle(b *batch) {
	for _, buffer := range b.joined {
		if !l.kept && len(l.joined) < spareJoined {
			l.joined = append(l.joined, buffer)
		}
	}
	clear(b.joined)
	b.joined = b.joined[:0]
	for form := range b.frames {
		clear(b.frames[form])
		clear(b.buffers[form])
		b.frames[form], b.buffers[form] = b.frames[form][:0], b.buffers[form][:0]
	}
	if len(l.batches) < spareBatches {
		l.batches = append(l.batches, b)
	}
}

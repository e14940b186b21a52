//go:build linux

package optimized

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/optimized/sys"
)

const (
	// maxShakes is how many TLS handshakes the engine has at a time. Who waits
	// longest for its client makes room for a new one.
	maxShakes = 2048
	// shakesQueued is how many may wait for their turn to compute before the loops
	// stop accepting for a while.
	shakesQueued = 256
	// shakeInput is how much a client may send ahead of its handshake's end before
	// it is no longer read, in bytes.
	shakeInput = 32 << 10
	// maxRecord is the largest payload of a record (RFC 8446 section 5.2).
	maxRecord = 16<<10 + 2048
	// handshakeRecord is the type of the first record (RFC 8446 section 5.1).
	handshakeRecord = 22
)

// shakes are the TLS handshakes of all loops. crypto/tls makes one in a single
// call, so that each has a goroutine, from its client's first record on. Few of them
// compute at a time, so that the loops get their turn of the CPUs between; those that
// wait for their clients hold nobody up.
type shakes struct {
	turns   chan struct{} // has a value for each that computes
	queued  atomic.Int32  // how many wait for a turn
	most    int           // of one loop
	running sync.WaitGroup
}

func newShakes(loops int) *shakes {
	return &shakes{
		turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		most:  max(1, maxShakes/loops),
	}
}

func (s *shakes) begin() {
	s.queued.Add(1)
	s.turns <- struct{}{}
	s.queued.Add(-1)
}

func (s *shakes) pause() { <-s.turns }

// overloaded tells whether TLS handshakes come in faster than they can be made. It
// may be called on nil.
func (s *shakes) overloaded() bool { return s != nil && s.queued.Load() > shakesQueued }

// shake is one TLS handshake: the loop feeds it, its goroutine reads.
type shake struct {
	loop       *loop
	connection handle
	more       chan struct{} // has a value when there is something new

	mu      sync.Mutex // guards what follows
	in      []byte
	waiting bool // for the client
	ended   bool // the connection is gone
}

// read returns what the client has sent, and waits for it.
func (s *shake) read(b []byte) (int, error) {
	for {
		s.mu.Lock()
		n := copy(b, s.in)
		s.in = s.in[n:]
		ended := s.ended
		s.waiting = n == 0 && !ended
		s.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		if ended {
			return 0, io.EOF
		}
		s.loop.engine.shakes.pause()
		<-s.more
		s.loop.engine.shakes.begin()
	}
}

// write has the loop send b.
func (s *shake) write(b []byte) {
	l, h, b := s.loop, s.connection, bytes.Clone(b)
	// A loop that has ended has closed the connection.
	l.inbox.post(func() {
		if r := l.slab.find(h); r != nil && !r.failed {
			if n, errno := sys.Send(r.fd, b); errno != 0 || n < len(b) {
				// A socket that does not take these few bytes is not worth keeping.
				l.markFailed(h.index, r, modes.ReasonGone)
			}
		}
	})
}

// feed adds what the client has sent.
func (s *shake) feed(b []byte) {
	s.mu.Lock()
	s.in = append(s.in, b...)
	s.waiting = false
	s.mu.Unlock()
	s.signal()
}

// end has the goroutine give up.
func (s *shake) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.signal()
}

func (s *shake) signal() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// idle tells whether it is the client who is waited for.
func (s *shake) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// full tells whether so much waits for the handshake that no more should be read.
func (s *shake) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.in) > shakeInput
}

// shakeFull tells whether a connection in its TLS handshake is not to be read.
func (l *loop) shakeFull(index uint32) bool {
	s := l.secureOf(index)
	return s != nil && s.pipe.shake.full()
}

// shakeHands takes what a connection sends before its TLS handshake is over. The
// handshake begins with the client's first whole record: a client that sends less
// costs a buffer, never a goroutine.
func (l *loop) shakeHands(index uint32, r *record, data []byte) {
	if s := l.secureOf(index); s != nil {
		s.pipe.shake.feed(data)
		return
	}
	if r.in != none {
		in := l.inputs.items[r.in]
		in.bytes = append(in.bytes, data...)
		data = in.bytes
	}
	if len(data) >= handshake.RecordHeader && handshake.LooksLikeHTTP([handshake.RecordHeader]byte(data)) {
		l.plainly(index, r, handshake.PlainHTTP)
		return
	}
	if !firstRecord(data) {
		if r.in == none {
			r.in = l.inputs.add(&input{connection: handle{index, r.generation}, due: never, bytes: bytes.Clone(data)})
		}
		return
	}
	data = bytes.Clone(data)
	l.discardInput(r)
	l.beginShake(index, r, data)
}

// firstRecord tells whether data has a whole record, or something that is none:
// crypto/tls says what is wrong with it.
func firstRecord(data []byte) bool {
	if len(data) < handshake.RecordHeader {
		return len(data) > 0 && data[0] != handshakeRecord && !upper(data[0])
	}
	length := int(binary.BigEndian.Uint16(data[3:]))
	return data[0] != handshakeRecord || length > maxRecord || len(data) >= handshake.RecordHeader+length
}

// upper tells whether a request of HTTP may begin so.
func upper(b byte) bool { return 'A' <= b && b <= 'Z' }

// beginShake begins the TLS handshake of a connection that has sent data.
func (l *loop) beginShake(index uint32, r *record, data []byte) {
	all, h := l.engine.shakes, handle{index, r.generation}
	l.makeRoom()
	l.security.shakes++
	l.security.shaking = append(l.security.shaking, h)
	s := &secure{pipe: pipe{loop: l, shake: &shake{loop: l, connection: h, more: make(chan struct{}, 1), in: data}}}
	s.conn = tls.Server(&s.pipe, l.engine.TLS)
	l.setSecure(index, s)
	all.running.Go(func() {
		all.begin()
		err := s.conn.HandshakeContext(l.engine.life)
		all.pause()
		// A loop that has ended has closed the connection.
		l.inbox.post(func() { l.shaken(h, s, err) })
	})
}

// makeRoom ends the TLS handshake that has begun first of those that wait for their
// clients, if there are too many. Those that wait for a turn to compute get it.
func (l *loop) makeRoom() {
	all := l.security
	if all.shakes < l.engine.shakes.most && len(all.shaking) < 2*l.engine.shakes.most {
		return
	}
	kept, full := all.shaking[:0], all.shakes >= l.engine.shakes.most
	for _, h := range all.shaking {
		r := l.slab.find(h)
		if r == nil || r.state != securing || r.failed {
			continue
		}
		if full && l.secureOf(h.index).pipe.shake.idle() {
			l.markFailed(h.index, r, handshake.RefusedBusy.Reason)
			full = false
			continue
		}
		kept = append(kept, h)
	}
	all.shaking = kept
}

// shaken goes on with a connection whose TLS handshake has ended with err.
func (l *loop) shaken(h handle, s *secure, err error) {
	r := l.slab.find(h)
	if r == nil || r.failed {
		return
	}
	received := s.pipe.shake.in
	l.security.shakes--
	if err != nil {
		l.setSecure(h.index, nil)
		if reason := handshake.TLSFailure(err); reason != "" {
			l.engine.Stats.Refused.WithLabelValues(reason).Inc()
		}
		// The alert is on its way.
		l.turnAway(h.index, r)
		return
	}
	s.pipe.shake = nil
	r.state = requesting
	// It may not have been read for a while.
	l.again = append(l.again, h)
	l.unseal(h.index, r, received)
}

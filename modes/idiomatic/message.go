package idiomatic

import (
	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// message is what waits in send queues. A publication's is immutable and shared
// by its receivers.
type message struct {
	kind     int    // websocket.TextMessage and so on; 0: nothing to send
	payload  []byte // without frame header
	size     int    // in bytes, with it
	prepared *websocket.PreparedMessage
	// frame is the message as it goes out, where it is compressed. It is made in
	// package wire, for all receivers and both engines alike, and gorilla writes
	// no frame that it has not made.
	frame wire.Frame
	// next is what the same connection is sent right after. Answers to one
	// message of the client take one place in its queue together.
	next *message
	// received is when the bus brought the publication, on the one message whose
	// write tells how long it took; else 0.
	received modes.Instant
}

// frames counts m and what follows it, for a counter.
func (m *message) frames() (n float64) {
	for ; m != nil; m = m.next {
		if m.kind != 0 {
			n++
		}
	}
	return n
}

// bytes is the size of m and what follows it.
func (m *message) bytes() (n int64) {
	for ; m != nil; m = m.next {
		n += int64(m.size)
	}
	return n
}

// newMessage returns the message for one receiver, or, where shared, one whose
// frame gorilla makes once for all.
func newMessage(frame wire.Frame, shared bool) *message {
	m := &message{kind: int(frame.OpCode()), payload: frame.Payload(), size: len(frame)}
	switch {
	case frame.Deflated():
		m.frame = frame
	case shared:
		// Preparing fails for no kind of message that frames carry; without
		// it the message is written all the same.
		m.prepared, _ = websocket.NewPreparedMessage(m.kind, m.payload)
	}
	return m
}

// pushMessage is newMessage for connections of protocol p. Over HTTP a frame is all
// payload.
func pushMessage(p wire.Protocol, frame wire.Frame, shared bool) *message {
	if p.OverHTTP() {
		return &message{kind: websocket.TextMessage, payload: frame, size: len(frame)}
	}
	return newMessage(frame, shared)
}

// timed returns m, or a copy where it is shared, with the time that its publication
// came.
func (m *message) timed(received modes.Instant, shared bool) *message {
	if shared {
		single := *m
		m = &single
	}
	m.received = received
	return m
}

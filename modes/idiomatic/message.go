package idiomatic

import (
	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/modes/wire"
)

// message is what waits in send queues, immutable and shared by its receivers.
type message struct {
	kind     int    // websocket.TextMessage and so on
	payload  []byte // without frame header
	size     int    // in bytes, with it
	prepared *websocket.PreparedMessage
}

// newMessage returns the message for one receiver, or, where shared, one whose
// frame gorilla makes once for all.
func newMessage(frame wire.Frame, shared bool) *message {
	m := &message{kind: int(frame.OpCode()), payload: frame.Payload(), size: len(frame)}
	if shared {
		// Preparing fails for no kind of message that frames carry; without
		// it the message is written all the same.
		m.prepared, _ = websocket.NewPreparedMessage(m.kind, m.payload)
	}
	return m
}

package session

import (
	"bytes"
	"encoding/binary"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// maxHeld bounds the memory, in bytes, that messages take while the session is
// suspended. A connected client may have the rest of one message beside it, whose
// commands carry the tokens of its channels.
const maxHeld = 64 << 10

// held is what a client has sent that has to wait.
type held struct {
	rest  []byte // of a message whose first commands have been handled
	later []byte // whole messages, each preceded by its length
}

// add appends a message. It returns false if there is no room; used is what counts
// beside the messages.
func (h *held) add(message []byte, used int) bool {
	if used+len(h.later)+binary.MaxVarintLen32+len(message) > maxHeld {
		return false
	}
	h.later = append(binary.AppendUvarint(h.later, uint64(len(message))), message...)
	return true
}

// next removes the first message.
func (h *held) next() (message []byte, ok bool) {
	if len(h.later) == 0 {
		return nil, false
	}
	length, n := binary.Uvarint(h.later)
	message, h.later = h.later[n:n+int(length)], h.later[n+int(length):]
	return message, true
}

// hold keeps a message while the session is suspended. It returns false if the client
// sends too much.
func (s *Session) hold(peer Peer, message []byte) bool {
	h, used := peer.Account(true).waiting(), 0
	if s.phase != connected {
		used = len(h.rest)
	}
	return h.add(message, used)
}

// holdRest keeps the rest of a message while the session is suspended, unless it is
// too long: then it ends the connection and returns false. owned says that rest is the
// session's; else it is copied.
func (s *Session) holdRest(peer Peer, rest []byte, owned bool) bool {
	if s.phase != connected && len(rest) > maxHeld {
		return s.disconnect(peer, wire.DisconnectTooManyRequests)
	}
	if !owned {
		rest = bytes.Clone(rest)
	}
	peer.Account(true).waiting().rest = rest
	return true
}

// nextHeld removes what is to be handled first of what is held. whole is false for
// the rest of a message.
func (a *Account) nextHeld() (message []byte, whole, ok bool) {
	h := a.held
	if h == nil {
		return nil, false, false
	}
	if len(h.rest) > 0 {
		message, h.rest = h.rest, nil
		return message, false, true
	}
	if message, ok = h.next(); !ok {
		a.held = nil
	}
	return message, true, ok
}

func (a *Account) waiting() *held {
	if a.held == nil {
		a.held = new(held)
	}
	return a.held
}

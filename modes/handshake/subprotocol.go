package handshake

import (
	"bytes"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Subprotocols is which subprotocols of the Centrifuge protocol a request offers.
type Subprotocols struct{ json, protobuf bool }

// Add reads one Sec-WebSocket-Protocol header. Names are compared as they are
// written (RFC 6455 section 4.1).
func (s *Subprotocols) Add(value []byte) {
	for more := true; more; {
		var name []byte
		name, value, more = bytes.Cut(value, []byte{','})
		switch string(bytes.TrimSpace(name)) {
		case wire.JSONSubprotocol:
			s.json = true
		case wire.ProtobufSubprotocol:
			s.protobuf = true
		}
	}
}

// Negotiate returns the protocol that a connection to an endpoint of protocol p
// speaks, and the subprotocol that its response names; empty: none. A subprotocol
// that both sides agree on decides, JSON before protobuf; without one the request's
// query does.
func Negotiate(p wire.Protocol, offered Subprotocols, rawQuery string) (wire.Protocol, string) {
	switch {
	case p != wire.JSON:
		return p, ""
	case offered.json:
		return wire.JSON, wire.JSONSubprotocol
	case offered.protobuf:
		return wire.Protobuf, wire.ProtobufSubprotocol
	}
	return Encoding(p, rawQuery), ""
}

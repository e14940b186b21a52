package client

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/centrifugal/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-ws/tandem/reliability/frame"
)

// Protocol is what a client speaks.
type Protocol uint8

// The protocols.
const (
	JSON     Protocol = iota // Centrifuge
	Protobuf                 // Centrifuge
	Raw                      // a frame for each message
	SSE                      // server-sent events
	Stream                   // a line for each message
)

// String returns the name of the protocol.
func (p Protocol) String() string {
	return [...]string{"JSON", "protobuf", "raw", "SSE", "HTTP stream"}[p]
}

// hasCommands reports whether the protocol has commands, as Centrifuge has.
func (p Protocol) hasCommands() bool { return p <= Protobuf }

// overHTTP reports whether the connection is the response to a plain HTTP request.
func (p Protocol) overHTTP() bool { return p >= SSE }

// cannotSignalGaps reports whether the server cannot tell the client that it may have
// missed messages.
func (p Protocol) cannotSignalGaps() bool { return p == Raw || p == Stream }

// Kind is how a client connects. The zero value is the Centrifuge protocol in JSON,
// the default of the SDKs.
type Kind struct {
	Protocol Protocol
	// Deflate asks for permessage-deflate, which the server must accept. It needs a
	// WebSocket.
	Deflate bool
}

// Kinds returns all kinds of clients.
func Kinds() []Kind {
	return []Kind{
		{JSON, false}, {JSON, true}, {Protobuf, false}, {Protobuf, true}, {Raw, false}, {Raw, true},
		{SSE, false}, {Stream, false},
	}
}

// String returns the name of the kind.
func (k Kind) String() string {
	if k.Deflate {
		return k.Protocol.String() + " compressed"
	}
	return k.Protocol.String()
}

// encode returns a frame with the commands.
func (k Kind) encode(commands ...*protocol.Command) ([]byte, error) {
	var body []byte
	op := byte(frame.Text)
	for i, c := range commands {
		if k.Protocol == Protobuf {
			op = frame.Binary
			one, err := proto.Marshal(c)
			if err != nil {
				return nil, fmt.Errorf("client: encode: %w", err)
			}
			body = append(binary.AppendUvarint(body, uint64(len(one))), one...)
			continue
		}
		one, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("client: encode: %w", err)
		}
		if i > 0 {
			body = append(body, '\n')
		}
		body = append(body, one...)
	}
	if k.Deflate {
		return frame.AppendDeflate(nil, op, body), nil
	}
	return frame.Append(nil, op, body), nil
}

// replies splits a message into replies and calls handle for each, until handle
// returns an error. Anything that is not a reply goes to broken.
func (k Kind) replies(op byte, body []byte, handle func(*protocol.Reply) error, broken func(string)) error {
	if k.Protocol == Protobuf {
		for len(body) > 0 {
			size, n := binary.Uvarint(body)
			var r protocol.Reply
			if op != frame.Binary || n <= 0 || size > uint64(len(body)-n) || proto.Unmarshal(body[n:n+int(size)], &r) != nil {
				broken(fmt.Sprintf("message that is not protobuf: %.100x", body))
				return nil
			}
			body = body[n+int(size):]
			if err := handle(&r); err != nil {
				return err
			}
		}
		return nil
	}
	for line := range bytes.SplitSeq(body, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var r protocol.Reply
		if op != frame.Text || json.Unmarshal(line, &r) != nil {
			broken(fmt.Sprintf("line that is not JSON: %.100s", line))
			continue
		}
		if err := handle(&r); err != nil {
			return err
		}
	}
	return nil
}

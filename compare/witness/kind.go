package witness

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/centrifugal/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-ws/tandem/compare/frame"
)

// Protocol is what a witness speaks.
type Protocol uint8

// The protocols.
const (
	JSON     Protocol = iota // Centrifuge
	Protobuf                 // Centrifuge
	Raw                      // a frame for each message
	SSE                      // server-sent events
	Stream                   // a line for each message
)

// String names the protocol.
func (p Protocol) String() string {
	return [...]string{"JSON", "protobuf", "raw", "SSE", "HTTP stream"}[p]
}

// session tells whether the protocol has commands: it is Centrifuge.
func (p Protocol) session() bool { return p <= Protobuf }

// overHTTP tells whether the connection is the answer to a plain request.
func (p Protocol) overHTTP() bool { return p >= SSE }

// mute tells whether the server has no word for messages that may have been missed.
func (p Protocol) mute() bool { return p == Raw || p == Stream }

// Kind is how a witness is connected. The zero value is the Centrifuge protocol as
// JSON, which the SDKs speak unless told otherwise.
type Kind struct {
	Protocol Protocol
	// Deflate asks for permessage-deflate, which the server must agree to; only
	// WebSockets have it.
	Deflate bool
}

// Kinds are all kinds of witnesses.
func Kinds() []Kind {
	return []Kind{
		{JSON, false}, {JSON, true}, {Protobuf, false}, {Protobuf, true}, {Raw, false}, {Raw, true},
		{SSE, false}, {Stream, false},
	}
}

// String names the kind.
func (k Kind) String() string {
	if k.Deflate {
		return k.Protocol.String() + " compressed"
	}
	return k.Protocol.String()
}

// encode returns the frame that carries these commands.
func (k Kind) encode(commands ...*protocol.Command) ([]byte, error) {
	var body []byte
	op := byte(frame.Text)
	for i, c := range commands {
		if k.Protocol == Protobuf {
			op = frame.Binary
			one, err := proto.Marshal(c)
			if err != nil {
				return nil, fmt.Errorf("witness: encode: %w", err)
			}
			body = append(binary.AppendUvarint(body, uint64(len(one))), one...)
			continue
		}
		one, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("witness: encode: %w", err)
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

// replies takes a message of the server apart. What is no reply goes to broken. An
// error of handle ends it.
func (k Kind) replies(op byte, body []byte, handle func(*protocol.Reply) error, broken func(string)) error {
	if k.Protocol == Protobuf {
		for len(body) > 0 {
			size, n := binary.Uvarint(body)
			var r protocol.Reply
			if op != frame.Binary || n <= 0 || size > uint64(len(body)-n) || proto.Unmarshal(body[n:n+int(size)], &r) != nil {
				broken(fmt.Sprintf("message that is no protobuf: %.100x", body))
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
			broken(fmt.Sprintf("line that is no JSON: %.100s", line))
			continue
		}
		if err := handle(&r); err != nil {
			return err
		}
	}
	return nil
}

package wire

import (
	"encoding/binary"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"
)

// AppendReply appends the complete frame that carries reply.
func AppendReply(dst []byte, p Protocol, reply *protocol.Reply) []byte {
	at := len(dst)
	dst = reserve(dst)
	if p == JSON {
		return seal(reply.AppendJSON(dst), at, ws.OpText)
	}
	// MarshalCF has no error path for a message that has no required fields.
	body, _ := reply.MarshalCF()
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	return seal(append(dst, body...), at, ws.OpBinary)
}

// ReplyFrame returns the frame that carries reply.
func ReplyFrame(p Protocol, reply *protocol.Reply) Frame {
	return AppendReply(nil, p, reply)
}

// PingFrame returns the frame that asks whether the client is there: an empty
// reply in the Centrifuge protocol, RFC 6455's ping in the others over WebSocket.
// Over HTTP it asks nothing, and keeps what is in between from closing a silent
// connection.
func PingFrame(p Protocol) Frame {
	switch p {
	case JSON:
		return jsonPing
	case Protobuf:
		return protobufPing
	case SSE:
		return ssePing
	case Stream:
		return streamPing
	}
	return pingFrame
}

var (
	jsonPing     = NewFrame(ws.OpText, []byte("{}"))
	protobufPing = NewFrame(ws.OpBinary, []byte{0})
	pingFrame    = NewFrame(ws.OpPing, nil)
)

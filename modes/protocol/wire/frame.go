package wire

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Frame is one complete, encoded, unmasked WebSocket frame: header and payload.
// It is immutable once made and shared by all its receivers.
type Frame []byte

// MaxHeader is the size of the largest header a server sends: RFC 6455 section
// 5.2, two bytes and a 64-bit length.
const MaxHeader = 10

// AppendHeader appends the header of an unfragmented server frame.
func AppendHeader(dst []byte, op ws.OpCode, length int) []byte {
	dst = append(dst, 0x80|byte(op))
	switch {
	case length < 126:
		return append(dst, byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 127), uint64(length))
	}
}

// NewFrame returns the frame that carries payload, which is copied.
func NewFrame(op ws.OpCode, payload []byte) Frame {
	dst := make([]byte, 0, headerSize(len(payload))+len(payload))
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// Payload returns the bytes behind the header; they are the frame's own.
func (f Frame) Payload() []byte {
	switch f[1] {
	case 127:
		return f[10:]
	case 126:
		return f[4:]
	}
	return f[2:]
}

// OpCode returns the frame's opcode.
func (f Frame) OpCode() ws.OpCode { return ws.OpCode(f[0] & 0x0f) }

// maxCloseReason is what a control frame's 125 bytes leave beside the code.
const maxCloseReason = 123

// CloseFrame returns the close frame for d. A reason too long for a control
// frame is cut at a rune (RFC 6455 section 5.5: at most 125 bytes).
func CloseFrame(d Disconnect) Frame {
	reason := d.Reason
	if len(reason) > maxCloseReason {
		reason = reason[:maxCloseReason]
		for !utf8.ValidString(reason) {
			reason = reason[:len(reason)-1]
		}
	}
	body := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reason)), d.Code)
	return NewFrame(ws.OpClose, append(body, reason...))
}

// CloseReply returns the close frame that answers a client's close frame with
// this body, or the close frame for the rule of RFC 6455 section 7.4 that the
// body breaks. The second result is what to count the ending as.
func CloseReply(body []byte) (Frame, Disconnect) {
	if len(body) == 0 {
		return NewFrame(ws.OpClose, nil), DisconnectNormal
	}
	if len(body) < 2 || !validCloseCode(binary.BigEndian.Uint16(body)) {
		return CloseFrame(DisconnectProtocol), DisconnectProtocol
	}
	if !utf8.Valid(body[2:]) {
		return CloseFrame(DisconnectInvalidPayload), DisconnectInvalidPayload
	}
	return NewFrame(ws.OpClose, body[:2]), DisconnectNormal
}

// validCloseCode says whether an endpoint may send code in a close frame: RFC
// 6455 section 7.4.1 and the IANA registry, 7.4.2 for the ranges.
func validCloseCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

// headerSize is the length of the header in front of a payload.
func headerSize(payload int) int {
	switch {
	case payload < 126:
		return 2
	case payload < 1<<16:
		return 4
	}
	return MaxHeader
}

// seal writes the header of a message that was appended to dst from offset at,
// where MaxHeader bytes had been reserved, and closes the gap.
func seal(dst []byte, at int, op ws.OpCode) []byte {
	length := len(dst) - at - MaxHeader
	var head [MaxHeader]byte
	h := AppendHeader(head[:0], op, length)
	copy(dst[at:], h)
	copy(dst[at+len(h):], dst[at+MaxHeader:])
	return dst[:at+len(h)+length]
}

// reserve appends the room that seal fills.
func reserve(dst []byte) []byte {
	var room [MaxHeader]byte
	return append(dst, room[:]...)
}

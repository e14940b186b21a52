package kit

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gobwas/ws"
)

// Frame is a WebSocket frame in any form, legal or not. What a field leaves at
// zero is what the protocol requires.
type Frame struct {
	Op       ws.OpCode
	Body     []byte
	More     bool   // the FIN bit is not set
	Rsv      byte   // the reserved bits, as in the first byte: 0x40, 0x20, 0x10
	Unmasked bool   // no mask
	Form     int    // length in 7, 16 or 64 bits; 0: the shortest
	Declares uint64 // the length in the header, if it is not the body's
}

// mask is the masking key of all client frames; each byte differs, so that a
// mistake in its offset shows.
var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// Append appends the frame as it goes over the wire.
func (f Frame) Append(dst []byte) []byte {
	first := f.Rsv | byte(f.Op)
	if !f.More {
		first |= 0x80
	}
	length := uint64(len(f.Body))
	if f.Declares != 0 {
		length = f.Declares
	}
	form := f.Form
	if form == 0 {
		switch {
		case length < 126:
			form = 7
		case length < 1<<16:
			form = 16
		default:
			form = 64
		}
	}
	second := byte(0x80)
	if f.Unmasked {
		second = 0
	}
	switch form {
	case 7:
		dst = append(dst, first, second|byte(length))
	case 16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, second|126), uint16(length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, second|127), length)
	}
	if f.Unmasked {
		return append(dst, f.Body...)
	}
	dst = append(dst, mask[:]...)
	at := len(dst)
	dst = append(dst, f.Body...)
	ws.Cipher(dst[at:], mask, 0)
	return dst
}

// Encode returns the frames one after the other.
func Encode(frames ...Frame) []byte {
	var b []byte
	for _, f := range frames {
		b = f.Append(b)
	}
	return b
}

// Text is a text message in one frame.
func Text(s string) Frame { return Frame{Op: ws.OpText, Body: []byte(s)} }

// BinaryFrame is a binary message in one frame.
func BinaryFrame(s string) Frame { return Frame{Op: ws.OpBinary, Body: []byte(s)} }

// Closing is the close frame with this code and reason.
func Closing(code uint16, reason string) Frame {
	return Frame{Op: ws.OpClose, Body: append(binary.BigEndian.AppendUint16(nil, code), reason...)}
}

// readFrame reads one frame of a server, and holds it to what RFC 6455 lets a
// server send; allowed are the reserved bits that an extension defines for data.
func readFrame(in *bufio.Reader, allowed byte) (Frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Op: ws.OpCode(head[0] & 0x0f), More: head[0]&0x80 == 0, Rsv: head[0] & 0x70}
	switch {
	case f.Rsv&^allowed != 0, f.Rsv != 0 && !f.Op.IsData():
		return f, fmt.Errorf("reserved bits in %x", head)
	case f.Op.IsReserved():
		return f, fmt.Errorf("reserved opcode in %x", head)
	case f.Op.IsControl() && f.More:
		return f, fmt.Errorf("fragmented control frame: %x", head)
	case head[1]&0x80 != 0:
		return f, fmt.Errorf("the server masks its frames: %x", head)
	}
	length, least := uint64(head[1]), uint64(0)
	var extended [8]byte
	switch length {
	case 126:
		if _, err := io.ReadFull(in, extended[:2]); err != nil {
			return f, io.ErrUnexpectedEOF
		}
		length, least = uint64(binary.BigEndian.Uint16(extended[:])), 126
	case 127:
		if _, err := io.ReadFull(in, extended[:]); err != nil {
			return f, io.ErrUnexpectedEOF
		}
		length, least = binary.BigEndian.Uint64(extended[:]), 1<<16
	}
	if length < least || length > 1<<30 || f.Op.IsControl() && length > 125 {
		return f, fmt.Errorf("length %d in header %x %x", length, head, extended)
	}
	f.Body = make([]byte, length)
	if _, err := io.ReadFull(in, f.Body); err != nil {
		return f, io.ErrUnexpectedEOF
	}
	return f, nil
}

package enginetest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gobwas/ws"
)

// frame is a WebSocket frame in any form, legal or not. What a field leaves at
// zero is what the protocol requires.
type frame struct {
	op       ws.OpCode
	body     []byte
	more     bool   // the FIN bit is not set
	rsv      byte   // the reserved bits, as in the first byte: 0x40, 0x20, 0x10
	unmasked bool   // no mask
	form     int    // length in 7, 16 or 64 bits; 0: the shortest
	declares uint64 // the length in the header, if it is not the body's
}

// mask is the masking key of all client frames; each byte differs, so that a
// mistake in its offset shows.
var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// append appends the frame as it goes over the wire.
func (f frame) append(dst []byte) []byte {
	first := f.rsv | byte(f.op)
	if !f.more {
		first |= 0x80
	}
	length := uint64(len(f.body))
	if f.declares != 0 {
		length = f.declares
	}
	form := f.form
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
	if f.unmasked {
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
	if f.unmasked {
		return append(dst, f.body...)
	}
	dst = append(dst, mask[:]...)
	at := len(dst)
	dst = append(dst, f.body...)
	ws.Cipher(dst[at:], mask, 0)
	return dst
}

// encode returns the frames one after the other.
func encode(frames ...frame) []byte {
	var b []byte
	for _, f := range frames {
		b = f.append(b)
	}
	return b
}

// text is a text message in one frame.
func text(s string) frame { return frame{op: ws.OpText, body: []byte(s)} }

// binaryFrame is a binary message in one frame.
func binaryFrame(s string) frame { return frame{op: ws.OpBinary, body: []byte(s)} }

// closing is the close frame with this code and reason.
func closing(code uint16, reason string) frame {
	return frame{op: ws.OpClose, body: append(binary.BigEndian.AppendUint16(nil, code), reason...)}
}

// readFrame reads one frame of a server, and holds it to what RFC 6455 lets a
// server send; allowed are the reserved bits that an extension defines for data.
func readFrame(in *bufio.Reader, allowed byte) (frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{op: ws.OpCode(head[0] & 0x0f), more: head[0]&0x80 == 0, rsv: head[0] & 0x70}
	switch {
	case f.rsv&^allowed != 0, f.rsv != 0 && !f.op.IsData():
		return f, fmt.Errorf("reserved bits in %x", head)
	case f.op.IsReserved():
		return f, fmt.Errorf("reserved opcode in %x", head)
	case f.op.IsControl() && f.more:
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
	if length < least || length > 1<<30 || f.op.IsControl() && length > 125 {
		return f, fmt.Errorf("length %d in header %x %x", length, head, extended)
	}
	f.body = make([]byte, length)
	if _, err := io.ReadFull(in, f.body); err != nil {
		return f, io.ErrUnexpectedEOF
	}
	return f, nil
}

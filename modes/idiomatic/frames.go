package idiomatic

import (
	"encoding/binary"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// violation is an error that ends a connection with a close frame of ours.
type violation struct {
	disconnect wire.Disconnect
}

func (v *violation) Error() string { return "idiomatic: " + v.disconnect.Reason }

var (
	errProtocol = &violation{wire.DisconnectProtocol}
	errTooBig   = &violation{wire.DisconnectTooBig}
	errUTF8     = &violation{wire.DisconnectInvalidPayload}
)

// closeFrame is the error that stands for the client's close frame.
type closeFrame struct {
	body []byte // unmasked
}

func (*closeFrame) Error() string { return "idiomatic: close frame" }

// frames follows the frames in a stream of client bytes, wherever it is cut, by
// the rules of RFC 6455 section 5. It keeps no payload but a close frame's.
type frames struct {
	limit int64 // largest message in bytes; 0: any

	header     [14]byte // of the frame that has begun
	have       uint8    // bytes of it that have come
	inPayload  bool
	remaining  int64  // payload bytes of this frame that have not come
	length     int64  // payload bytes of this message so far
	fragmented bool   // a message has begun whose last frame has not
	deflate    bool   // permessage-deflate has been negotiated
	compressed bool   // the message that has begun has RSV1 set (RFC 7692 section 6)
	finished   uint64 // messages and control frames between them that ended
	// begun has, where deflate is set, for each message that the reader has not
	// come to yet whether it is compressed.
	begun []bool
	body  []byte // of a close frame
}

const (
	finBit  = 0x80
	rsvBits = 0x70
	rsv1Bit = 0x40
	maskBit = 0x80

	maskBytes = 4
)

// scan follows p and returns how much of it is for the reader: all, or what
// stands in front of a frame that ends the connection, and why it does. It clears
// RSV1 in p: gorilla inflates without a bound on what comes out, and does not see
// what stands behind a last block, so that it is not told.
func (f *frames) scan(p []byte) (int, error) {
	start := 0 // of the current frame, as far as it is in p
	for i := 0; i < len(p); {
		if f.inPayload {
			n := min(f.remaining, int64(len(p)-i))
			if f.opcode() == ws.OpClose {
				f.body = append(f.body, p[i:i+int(n)]...)
			}
			f.remaining -= n
			i += int(n)
		} else {
			if f.have == 0 {
				start = i
			}
			f.header[f.have] = p[i]
			f.have++
			i++
			if err := f.advance(); err != nil {
				return start, err
			}
			if f.deflate && f.have == 1 && f.begins() {
				p[i-1] &^= rsv1Bit
				f.begun = append(f.begun, f.compressed)
			}
		}
		if f.inPayload && f.remaining == 0 {
			if err := f.end(); err != nil {
				return start, err
			}
		}
	}
	return len(p), nil
}

// unfinished numbers the message that has begun and not ended; 0: there is none.
func (f *frames) unfinished() uint64 {
	if f.have == 0 && !f.fragmented {
		return 0
	}
	return f.finished + 1
}

func (f *frames) opcode() ws.OpCode { return ws.OpCode(f.header[0] & 0x0f) }
func (f *frames) final() bool       { return f.header[0]&finBit != 0 }

// begins tells whether the frame is the first of a message.
func (f *frames) begins() bool { return f.opcode() == ws.OpText || f.opcode() == ws.OpBinary }

// next tells whether the message that the reader comes to now is compressed.
func (f *frames) next() (compressed bool) {
	if !f.deflate {
		return false
	}
	compressed = f.begun[0]
	if f.begun = f.begun[1:]; len(f.begun) == 0 {
		f.begun = nil
	}
	return compressed
}

// advance judges the header as far as it has come.
func (f *frames) advance() error {
	switch int(f.have) {
	case 1:
		return f.first()
	case 2:
		if err := f.second(); err != nil || f.lengthBytes() > 0 {
			return err
		}
		return f.size()
	case 2 + f.lengthBytes():
		return f.size()
	case 2 + f.lengthBytes() + maskBytes:
		f.inPayload = true
	}
	return nil
}

// size judges the length of the payload.
func (f *frames) size() error {
	size := int64(f.header[1] &^ maskBit)
	// A length must be written in the shortest form and not be negative.
	switch f.lengthBytes() {
	case 2:
		if size = int64(binary.BigEndian.Uint16(f.header[2:])); size < 126 {
			return errProtocol
		}
	case 8:
		if size = int64(binary.BigEndian.Uint64(f.header[2:])); size < 1<<16 {
			return errProtocol
		}
	}
	if f.opcode().IsData() {
		limit := f.limit
		if f.compressed {
			limit = int64(wire.DeflatedLimit(int(limit)))
		}
		if f.limit > 0 && size > limit-f.length {
			return errTooBig
		}
		f.length += size
	}
	f.remaining = size
	return nil
}

// first judges opcode, reserved bits and fragmentation.
func (f *frames) first() error {
	op, rsv := f.opcode(), f.header[0]&rsvBits
	switch {
	case rsv != 0 && !(rsv == rsv1Bit && f.deflate && f.begins()), op.IsReserved(),
		op.IsControl() && !f.final(),
		f.begins() && f.fragmented,
		op == ws.OpContinuation && !f.fragmented:
		return errProtocol
	}
	if f.begins() {
		f.compressed = rsv != 0
	}
	return nil
}

// second judges the mask and the length of control frames.
func (f *frames) second() error {
	if f.header[1]&maskBit == 0 || f.opcode().IsControl() && f.lengthBytes() > 0 {
		return errProtocol
	}
	return nil
}

// lengthBytes is how many bytes of extended length the header has.
func (f *frames) lengthBytes() int {
	switch f.header[1] &^ maskBit {
	case 126:
		return 2
	case 127:
		return 8
	}
	return 0
}

// end closes the current frame.
func (f *frames) end() error {
	op := f.opcode()
	if op == ws.OpClose {
		ws.Cipher(f.body, [4]byte(f.header[2:6]), 0)
		return &closeFrame{f.body}
	}
	if !op.IsControl() {
		f.fragmented = !f.final()
		if !f.fragmented {
			f.length = 0
		}
	}
	if !f.fragmented {
		f.finished++
	}
	f.have, f.inPayload = 0, false
	return nil
}

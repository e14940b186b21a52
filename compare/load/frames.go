package load

import (
	"bytes"
	"encoding/binary"
)

const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10

	finBit  = 0x80
	rsvBits = 0x70
	maskBit = 0x80
)

// frames parses frames, or pieces of frames, continuing where the last piece ended.
func (in *intake) frames(r *record, b []byte, now int64) verdict {
	for {
		if r.remain > 0 {
			n := min(uint64(len(b)), r.remain)
			r.remain -= n
			last := r.remain == 0 && r.flags&lastFrame != 0
			if v := in.piece(r, b[:n], last, now); v != carryOn {
				return v
			}
			b = b[n:]
			if r.remain > 0 {
				return carryOn
			}
			continue
		}
		if len(b) == 0 {
			return carryOn
		}
		if r.stash != 0 {
			rest, whole := in.unstash(r, b)
			if b = rest; !whole {
				return carryOn
			}
			// the slot keeps its bytes until something else takes it
			frame := in.slots.bytes(r.stash)
			in.slots.drop(&r.stash)
			if _, v := in.frame(r, frame, now); v != carryOn {
				return v
			}
			continue
		}
		if need := needed(b); len(b) < need {
			in.slots.add(&r.stash, b)
			return carryOn
		}
		n, v := in.frame(r, b, now)
		if v != carryOn {
			return v
		}
		b = b[n:]
	}
}

// needed returns how many bytes of a frame are needed to start with it: the header of
// a data frame, the whole of a control frame, at most two bytes of an invalid one.
func needed(b []byte) int {
	if len(b) < 2 || b[0]&rsvBits != 0 || b[1]&maskBit != 0 {
		return 2
	}
	length := int(b[1])
	switch control := b[0]&0x08 != 0; {
	case control && length <= maxControl:
		return 2 + length
	case !control && length == 126:
		return 4
	case !control && length == 127:
		return 10
	}
	return 2
}

const maxControl = 125

// unstash completes a header or control frame that started earlier.
func (in *intake) unstash(r *record, b []byte) (rest []byte, whole bool) {
	for {
		have := in.slots.bytes(r.stash)
		missing := needed(have) - len(have)
		if missing <= 0 {
			return b, true
		}
		if len(b) == 0 {
			return b, false
		}
		n := min(missing, len(b))
		in.slots.add(&r.stash, b[:n])
		b = b[n:]
	}
}

// frame parses the frame at the start of b, which has what needed asks for, and
// returns how many bytes of b it has used: the whole frame if it is a data frame that
// is all in b, otherwise its header.
func (in *intake) frame(r *record, b []byte, now int64) (int, verdict) {
	first, length := b[0], uint64(b[1])
	if first&rsvBits != 0 {
		return 0, in.end(causeViolation, "reserved bits set")
	}
	if length&maskBit != 0 {
		return 0, in.end(causeViolation, "masked frame from server")
	}
	opcode := first & 0x0f
	if opcode >= opClose {
		if first&finBit == 0 || length > maxControl {
			return 0, in.end(causeViolation, "fragmented or long control frame")
		}
		return in.control(first, b[2:2+length])
	}
	if opcode > opBinary {
		return 0, in.end(causeViolation, "reserved opcode")
	}
	if (opcode == opContinuation) != (r.flags&fragmented != 0) {
		return 0, in.end(causeViolation, "continuation out of place")
	}
	at := 2
	switch length {
	case 126:
		length, at = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		length, at = binary.BigEndian.Uint64(b[2:]), 10
		if length>>63 != 0 {
			return 0, in.end(causeViolation, "length above 2^63-1")
		}
	}
	r.flags &^= fragmented | lastFrame
	if first&finBit != 0 {
		r.flags |= lastFrame
	} else {
		r.flags |= fragmented
	}
	if uint64(len(b)-at) < length {
		r.remain = length
		return at, carryOn
	}
	end := at + int(length)
	return end, in.piece(r, b[at:end], first&finBit != 0, now)
}

// piece handles payload bytes of a data frame; last means that they end their message.
// In the Centrifuge protocol and over HTTP, each line is a message.
func (in *intake) piece(r *record, b []byte, last bool, now int64) verdict {
	if p := in.groups[r.group].protocol; p == protoCentrifuge || p.overHTTP() {
		for {
			i := bytes.IndexByte(b, '\n')
			if i < 0 {
				break
			}
			if v := in.whole(r, b[:i], now); v != carryOn {
				return v
			}
			b = b[i+1:]
		}
	}
	if last {
		return in.whole(r, b, now)
	}
	if len(b) > 0 {
		in.slots.add(&r.part, b)
	}
	return carryOn
}

// whole handles a message of which b is the end and r.part the beginning.
func (in *intake) whole(r *record, b []byte, now int64) verdict {
	if r.part == 0 {
		return in.message(r, b[:min(len(b), slotSize)], now)
	}
	in.slots.add(&r.part, b)
	b = in.slots.bytes(r.part)
	v := in.message(r, b, now)
	in.slots.drop(&r.part)
	return v
}

// control handles a control frame.
func (in *intake) control(first byte, b []byte) (int, verdict) {
	switch first & 0x0f {
	case opClose:
		return 0, in.end(closeCode(b), "")
	case opPing:
		in.count.Pings++
		in.reply = appendFrame(in.reply, opPong, b)
	case opPong:
	default:
		return 0, in.end(causeViolation, "reserved opcode")
	}
	return 2 + len(b), carryOn
}

// mask is the masking key of every frame. RFC 6455 requires it to be unpredictable
// because of proxies, of which there are none here; the server must unmask all the
// same.
var mask = [4]byte{0x5a, 0xa5, 0x3c, 0xc3}

// appendFrame appends a masked, final frame to dst.
func appendFrame(dst []byte, opcode byte, b []byte) []byte {
	dst = append(dst, finBit|opcode)
	switch n := len(b); {
	case n < 126:
		dst = append(dst, maskBit|byte(n))
	case n < 1<<16:
		dst = append(dst, maskBit|126, byte(n>>8), byte(n))
	default:
		dst = append(dst, maskBit|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	dst = append(dst, mask[:]...)
	for i, c := range b {
		dst = append(dst, c^mask[i&3])
	}
	return dst
}

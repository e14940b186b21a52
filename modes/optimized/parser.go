//go:build linux

package optimized

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// event is what the parser found.
type event uint8

const (
	nothing   event = iota // the bytes are used up
	message                // a complete text or binary message
	control                // a complete ping, pong or close frame
	violation              // the connection must end; the parser is not used again
)

// parser takes the frames of one client from any cut of its bytes. It resumes
// anywhere. A message that lies whole in the bytes it is given is handed on in
// place; only what is unfinished is copied.
type parser struct {
	limit int // of a message, in bytes

	header  [ws.MaxHeaderSize]byte
	headed  int  // bytes of the header so far
	inFrame bool // the header is complete, remaining bytes of payload are due
	frame   ws.Header
	left    int64
	masked  int // payload bytes of this frame so far: the offset into the mask

	op         ws.OpCode // of the message that has begun; 0: none has
	compressed bool      // its RSV1 bit: permessage-deflate
	message    []byte    // what has come of it
	checked    int       // how much of it is known to be UTF-8

	control [ws.MaxControlFramePayloadSize]byte
	had     int // bytes of the control frame's payload so far

	// deflate allows RSV1 on the first frame of a message (RFC 7692 section 6).
	// Messages that have it are handed on as they come: neither their size nor
	// their UTF-8 can be judged before they are inflated.
	deflate bool
}

// found is one thing in the client's bytes. payload is valid until the parser
// is used again or the bytes are overwritten.
type found struct {
	event      event
	op         ws.OpCode
	compressed bool
	payload    []byte
	end        wire.Disconnect // of a violation
}

// unfinished tells whether the parser holds part of a frame or a message.
func (p *parser) unfinished() bool { return p.headed > 0 || p.inFrame || p.op != 0 }

// next takes from data up to the end of the next thing it finds and returns what
// is left. It unmasks in place: data belongs to the parser.
func (p *parser) next(data []byte) (found, []byte) {
	for {
		if !p.inFrame {
			var end *wire.Disconnect
			if data, end = p.head(data); end != nil {
				return found{event: violation, end: *end}, nil
			}
			if !p.inFrame {
				return found{}, nil
			}
		}
		n := int(min(p.left, int64(len(data))))
		part, rest := data[:n], data[n:]
		ws.Cipher(part, p.frame.Mask, p.masked)
		p.masked += n
		p.left -= int64(n)
		data = rest
		f, done := p.take(part)
		if p.left == 0 {
			p.inFrame = false
		}
		if done {
			return f, data
		}
		if p.left > 0 {
			return found{}, nil
		}
	}
}

// take adds part to what the frame belongs to. True: it is complete, or wrong.
func (p *parser) take(part []byte) (found, bool) {
	if p.frame.OpCode.IsControl() {
		if p.left == 0 && p.had == 0 {
			return found{event: control, op: p.frame.OpCode, payload: part}, true
		}
		p.had += copy(p.control[p.had:], part)
		if p.left > 0 {
			return found{}, false
		}
		payload := p.control[:p.had]
		p.had = 0
		return found{event: control, op: p.frame.OpCode, payload: payload}, true
	}
	text := p.op == ws.OpText && !p.compressed
	last := p.left == 0 && p.frame.Fin
	if last && len(p.message) == 0 {
		f := found{event: message, op: p.op, compressed: p.compressed, payload: part}
		p.op, p.checked = 0, 0
		if text && !utf8.Valid(part) {
			return found{event: violation, end: wire.DisconnectInvalidPayload}, true
		}
		return f, true
	}
	p.message = append(p.message, part...)
	if text && !p.check(last) {
		return found{event: violation, end: wire.DisconnectInvalidPayload}, true
	}
	if !last {
		return found{}, false
	}
	f := found{event: message, op: p.op, compressed: p.compressed, payload: p.message}
	p.op, p.checked, p.message = 0, 0, p.message[:0]
	return f, true
}

// check validates what is new in the text message. RFC 6455 section 8.1; it
// fails at the first byte that cannot be right, not at the message's end.
func (p *parser) check(last bool) bool {
	for p.checked < len(p.message) {
		rest := p.message[p.checked:]
		if rest[0] < utf8.RuneSelf {
			p.checked++
			continue
		}
		if !utf8.FullRune(rest) {
			return !last
		}
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			return false
		}
		p.checked += size
	}
	return true
}

// head reads a frame's header and checks what RFC 6455 section 5 says of it.
func (p *parser) head(data []byte) ([]byte, *wire.Disconnect) {
	// Two bytes say how long the header is.
	for p.headed < 2 || p.headed < headerLength(p.header[1]) {
		need := 2
		if p.headed >= 2 {
			need = headerLength(p.header[1])
		}
		n := copy(p.header[p.headed:need], data)
		if n == 0 {
			return nil, p.begun()
		}
		p.headed += n
		data = data[n:]
		if p.headed >= 2 {
			// A header that is wrong from the start need not be complete.
			if end := p.legal(); end != nil {
				return nil, end
			}
		}
	}
	length, end := p.length()
	if end != nil {
		return nil, end
	}
	copy(p.frame.Mask[:], p.header[p.headed-len(p.frame.Mask):])
	p.headed, p.had, p.masked = 0, 0, 0
	p.inFrame, p.left = true, length
	if op := p.frame.OpCode; op == ws.OpText || op == ws.OpBinary {
		p.op, p.compressed = op, p.frame.Rsv1()
	}
	return data, nil
}

// begun judges what has come of a header that is not complete, so that nobody
// waits for the rest of a wrong one.
func (p *parser) begun() *wire.Disconnect {
	switch {
	case p.headed == 1:
		// A second byte that says nothing wrong; the real one will follow.
		p.header[1] = 0x80
		return p.legal()
	case p.headed >= 2 && p.headed >= headerLength(p.header[1])-len(p.frame.Mask):
		_, end := p.length()
		return end
	}
	return nil
}

// length is the length of the frame's payload, from a header that has come as far
// as that, and is judged by RFC 6455 section 5.2 and the message size limit.
func (p *parser) length() (int64, *wire.Disconnect) {
	length := int64(p.header[1] & 0x7f)
	switch length {
	case 126:
		// The minimal number of bytes must be used.
		if length = int64(binary.BigEndian.Uint16(p.header[2:])); length <= 125 {
			return 0, &wire.DisconnectProtocol
		}
	case 127:
		// The most significant bit must be 0: it would be the sign.
		if length = int64(binary.BigEndian.Uint64(p.header[2:])); length <= math.MaxUint16 {
			return 0, &wire.DisconnectProtocol
		}
	}
	if p.frame.OpCode.IsControl() {
		return length, nil
	}
	limit := p.limit
	if p.frame.Rsv1() || p.frame.OpCode == ws.OpContinuation && p.compressed {
		limit = wire.DeflatedLimit(limit)
	}
	if length > int64(limit-len(p.message)) {
		return 0, &wire.DisconnectTooBig
	}
	return length, nil
}

// headerLength is the whole header's length, as its second byte says; a client
// frame has a mask (section 5.1), without one the frame is refused before.
func headerLength(second byte) int {
	switch second & 0x7f {
	case 126:
		return 8
	case 127:
		return 14
	}
	return 6
}

// legal checks the first two bytes of a header and fills p.frame with them.
func (p *parser) legal() *wire.Disconnect {
	first, second := p.header[0], p.header[1]
	p.frame = ws.Header{Fin: first&0x80 != 0, Rsv: first >> 4 & 0x7, OpCode: ws.OpCode(first & 0xf), Masked: second&0x80 != 0}
	op := p.frame.OpCode
	begins := op == ws.OpText || op == ws.OpBinary
	switch {
	case !p.frame.Masked, // section 5.1
		p.frame.Rsv2() || p.frame.Rsv3(),          // section 5.2
		p.frame.Rsv1() && (!p.deflate || !begins), // RFC 7692 section 6
		op.IsReserved(),                           // section 5.2
		op.IsControl() && !p.frame.Fin,            // section 5.5
		op.IsControl() && second&0x7f > 125,       // section 5.5
		op == ws.OpContinuation && p.op == 0,      // section 5.4
		begins && p.op != 0:                       // section 5.4
		return &wire.DisconnectProtocol
	}
	return nil
}

//go:build linux

package enginetest

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

// endpoints are those whose answer to any bytes is decided by RFC 6455 alone.
var endpoints = []string{modes.PathEcho, modes.PathEcho, modes.PathRaw + "?channel=news"}

// FuzzStreams sends both engines the same bytes: valid frames, changed by the
// fuzzer.
func FuzzStreams(f *testing.F) {
	for i, stream := range seedStreams() {
		f.Add(stream, uint64(i))
	}
	for i, found := range foundStreams {
		f.Add(found.stream, uint64(i))
	}
	p := startPair(f, nil)
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		p.streams(t, endpoints[seed/6%uint64(len(endpoints))], stream, seed)
	})
}

// seedStreams are the frames of the suite, but for the large ones.
func seedStreams() (streams [][]byte) {
	for _, r := range rules() {
		if stream := kit.Encode(r.send...); len(stream) < 2*fuzzMessageSize {
			streams = append(streams, stream)
		}
	}
	for _, size := range []int{0, 1, 125, 126, fuzzMessageSize, fuzzMessageSize + 1} {
		streams = append(streams, kit.Encode(kit.Text(string(pattern(size))), kit.Closing(1000, "bye")))
	}
	return streams
}

// FuzzFrames sends both engines frames that follow from the program: each few of
// its bytes describe one, more often right than wrong.
func FuzzFrames(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(randomProgram(seed), seed)
	}
	p := startPair(f, nil)
	f.Fuzz(func(t *testing.T, program []byte, seed uint64) {
		p.streams(t, endpoints[seed/6%uint64(len(endpoints))], framesOf(program), seed)
	})
}

// randomProgram is a program for a fuzz target to begin with.
func randomProgram(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	program := make([]byte, 20+r.IntN(300))
	for i := range program {
		program[i] = byte(r.Uint32())
	}
	return program
}

// choices takes decisions from a program, whose end is a run of zeros.
type choices []byte

func (c *choices) next() byte {
	if len(*c) == 0 {
		return 0
	}
	b := (*c)[0]
	*c = (*c)[1:]
	return b
}

// framesOf are the frames that a program describes, as bytes.
func framesOf(program []byte) []byte {
	c := choices(program)
	var stream []byte
	open := false
	for len(c) > 0 && len(stream) < 20*fuzzMessageSize {
		f := c.frame(&open)
		at := len(stream)
		stream = f.Append(stream)
		// Now and then a byte is wrong, or is lost with all that follows it.
		switch c.next() {
		case 1:
			stream[at+int(c.next())%(len(stream)-at)] ^= 1 << (c.next() & 7)
		case 2:
			stream = stream[:at+int(c.next())%(len(stream)-at)]
		}
	}
	return stream
}

// frame is the next frame. open reports whether a message has begun that has not
// ended.
func (c *choices) frame(open *bool) kit.Frame {
	kind := c.next()
	f := kit.Frame{More: kind&0x80 != 0}
	switch op := kind & 0x0f; {
	case kind&0x70 == 0x70:
		// Whatever it says.
		f.Op = ws.OpCode(op)
	case op < 8 && *open:
		f.Op = ws.OpContinuation
	case op < 6:
		f.Op = ws.OpText
	case op < 8:
		f.Op = ws.OpBinary
	case op < 11:
		f.Op, f.More = ws.OpPing, false
	case op < 13:
		f.Op, f.More = ws.OpPong, false
	case op < 15:
		// What is rarely the end is more often something else.
		f.Op = ws.OpText
		if *open {
			f.Op = ws.OpContinuation
		}
	default:
		f.Op, f.More = ws.OpClose, false
	}
	if f.Op < ws.OpClose {
		*open = f.More
	}
	f.Body = c.body(f.Op)
	switch c.next() {
	case 1:
		f.Unmasked = true
	case 2:
		f.Rsv = c.next() & 0x70
	case 3:
		f.Form = []int{7, 16, 64}[c.next()%3]
	case 4:
		f.Declares = uint64(c.next())
	case 5:
		f.Declares = binary.BigEndian.Uint64([]byte{c.next(), c.next(), 0, 0, 0, 0, c.next(), c.next()})
	}
	if f.Form == 7 && max(uint64(len(f.Body)), f.Declares) > 127 {
		f.Form = 0
	}
	return f
}

// Pieces of texts: whole runes, and parts that are right only beside others.
var pieces = []string{
	"a", "text ", "\x00", "\u00e9", "\u20ac", "\U0001f600", "\ufffd", "\ud7ff", "\ue000", "\U0010ffff",
	"\xe2", "\x82", "\xac", "\xf0", "\x9f", "\x98", "\x80", "\xf0\x9f", "\xe2\x82", "\x82\xac", "\xbf", "\xc3", "\xa9",
	"\xed\xa0\x80", "\xed", "\xa0", "\xf4\x90", "\xf4\x8f", "\xc0\xaf", "\xe0\x80\xaf", "\xf8", "\xff",
}

func (c *choices) body(op ws.OpCode) []byte {
	var body []byte
	if op == ws.OpClose {
		code := []uint16{1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1014, 1015, 1016, 2999, 3000, 4999, 5000}
		switch k := c.next(); {
		case k < 200:
			body = binary.BigEndian.AppendUint16(nil, code[int(k)%len(code)])
		case k < 220:
			body = []byte{3}
		case k < 240:
			return nil
		default:
			body = []byte{c.next(), c.next()}
		}
	}
	switch shape := c.next(); {
	case shape < 160:
		// Of few pieces, the first ones more often.
		for range shape % 8 {
			k := int(c.next())
			if k >= 128 {
				k %= 10
			}
			body = append(body, pieces[k%len(pieces)]...)
		}
	case shape < 200:
		sizes := []int{0, 1, 124, 125, 126, 127, 300, fuzzMessageSize - 1, fuzzMessageSize, fuzzMessageSize + 1}
		body = append(body, pattern(sizes[int(c.next())%len(sizes)])...)
	case shape < 230:
		n := int(c.next())
		for range n {
			body = append(body, c.next())
		}
	default:
		body = append(body, pattern(int(shape-230))...)
	}
	return body
}

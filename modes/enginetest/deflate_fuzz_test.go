//go:build linux

package enginetest

import (
	"compress/flate"
	"fmt"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

// FuzzDeflate sends both engines messages that are compressed, more often right
// than wrong, on connections that have negotiated it.
func FuzzDeflate(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(randomProgram(seed), seed)
	}
	for _, test := range deflateViolations {
		f.Add(kit.Encode(test.frames...), uint64(1)<<32)
	}
	p := startPair(f, func(s *kit.Setup) { s.Compression = true })
	f.Fuzz(func(t *testing.T, program []byte, seed uint64) {
		stream := program
		if seed>>32 == 0 {
			stream = deflatedFramesOf(program)
		}
		target := endpoints[seed/6%uint64(len(endpoints))]
		p.same(t, fmt.Sprintf("%q to %s, seed %d", stream, target, seed), func(t *testing.T, n *kit.Node) outcome {
			c := n.OpenDeflate(t, target)
			defer c.Leave()
			sent := sendCut(c, stream, seed)
			defer sent()
			return readOutcome(c)
		})
	})
}

// deflatedFramesOf are the frames that a program describes, as bytes: compressed
// messages, and any others between.
func deflatedFramesOf(program []byte) []byte {
	c := choices(program)
	var stream []byte
	open := false
	for len(c) > 0 && len(stream) < 20*fuzzMessageSize {
		if open || c.next() < 80 {
			stream = c.frame(&open).Append(stream)
			continue
		}
		for _, f := range c.deflatedMessage() {
			stream = f.Append(stream)
		}
	}
	return stream
}

// deflatedMessage is a compressed message, in one frame or several.
func (c *choices) deflatedMessage() []kit.Frame {
	f := kit.Frame{Op: ws.OpText, Rsv: kit.Rsv1}
	var data []byte
	switch k := c.next(); {
	case k < 30:
		f.Op = ws.OpBinary
	case k < 40:
		// It inflates to more than it may.
		data = pattern(fuzzMessageSize/2 + int(c.next())*8)
	}
	for range c.next() % 4 {
		data = append(data, c.body(ws.OpText)...)
	}
	f.Body = kit.Deflate([]int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression}[c.next()%4], data)
	switch c.next() {
	case 1:
		f.Body[int(c.next())%len(f.Body)] ^= 1 << (c.next() & 7)
	case 2:
		f.Body = f.Body[:int(c.next())%len(f.Body)]
	case 3:
		f.Body = append(f.Body, c.body(ws.OpBinary)...)
	case 4:
		// A last block, and what stands behind it.
		f.Body = append([]byte("\x01\x05\x00\xfa\xffHello"), f.Body...)
	case 5:
		f.Body = noise(fuzzMessageSize + int(c.next()))
	}
	if size := int(c.next()); size > 0 && size < 128 {
		return cutFrames(f, size)
	}
	return []kit.Frame{f}
}

//go:build linux

package enginetest

import (
	"compress/flate"
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

// FuzzDeflate sends both engines messages that are compressed, more often right
// than wrong, on connections that have negotiated it.
func FuzzDeflate(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(randomProgram(seed), seed)
	}
	for _, test := range deflateViolations {
		f.Add(encode(test.frames...), uint64(1)<<32)
	}
	p := startPair(f, func(s *setup) { s.compression = true })
	f.Fuzz(func(t *testing.T, program []byte, seed uint64) {
		stream := program
		if seed>>32 == 0 {
			stream = deflatedFramesOf(program)
		}
		target := endpoints[seed/6%uint64(len(endpoints))]
		p.same(t, fmt.Sprintf("%q to %s, seed %d", stream, target, seed), func(t *testing.T, n *node) outcome {
			c := n.openDeflate(t, target)
			defer c.leave()
			sent := c.sendCut(stream, seed)
			defer sent()
			return c.outcome()
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
			stream = c.frame(&open).append(stream)
			continue
		}
		for _, f := range c.deflatedMessage() {
			stream = f.append(stream)
		}
	}
	return stream
}

// deflatedMessage is a compressed message, in one frame or several.
func (c *choices) deflatedMessage() []frame {
	f := frame{op: ws.OpText, rsv: rsv1}
	var data []byte
	switch k := c.next(); {
	case k < 30:
		f.op = ws.OpBinary
	case k < 40:
		// It inflates to more than it may.
		data = pattern(fuzzMessageSize/2 + int(c.next())*8)
	}
	for range c.next() % 4 {
		data = append(data, c.body(ws.OpText)...)
	}
	f.body = deflate([]int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression}[c.next()%4], data)
	switch c.next() {
	case 1:
		f.body[int(c.next())%len(f.body)] ^= 1 << (c.next() & 7)
	case 2:
		f.body = f.body[:int(c.next())%len(f.body)]
	case 3:
		f.body = append(f.body, c.body(ws.OpBinary)...)
	case 4:
		// A last block, and what stands behind it.
		f.body = append([]byte("\x01\x05\x00\xfa\xffHello"), f.body...)
	case 5:
		f.body = noise(fuzzMessageSize + int(c.next()))
	}
	if size := int(c.next()); size > 0 && size < 128 {
		return cutFrames(f, size)
	}
	return []frame{f}
}

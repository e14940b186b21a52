//go:build linux

package enginetest

import (
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
)

// foundStreams are inputs in which fuzzing has found the engines to differ, and
// the fuzz targets begin with them.
var foundStreams = []struct {
	name   string
	stream []byte
}{
	// The optimized parser waited for the second byte of a header, and for the mask
	// behind a length, before it looked at what came first.
	{"wrong first byte of a header, then the end", append(encode(text("before")), 0x44)},
	{"continuation of nothing, a byte of it", []byte{0x80}},
	{"too long, cut before the mask", encode(frame{op: ws.OpText, declares: fuzzMessageSize + 1})[:4]},
	{"length too long in form, cut before the mask", encode(frame{op: ws.OpText, form: 64, body: pattern(5)})[:10]},
}

func TestFoundStreams(t *testing.T) {
	p := startPair(t, nil)
	for _, test := range foundStreams {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(6) {
				p.streams(t, modes.PathEcho, test.stream, seed)
			}
		})
	}
}

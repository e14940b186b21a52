package enginetest

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var deflateCases = []suiteCase{
	{"deflate/offers", testDeflateOffers},
	{"deflate/not switched on", testDeflateOff},
	{"deflate/echo", testDeflateEcho},
	{"deflate/fragments", testDeflateFragments},
	{"deflate/many in one segment", testDeflateJoined},
	{"deflate/violations", testDeflateViolations},
	{"deflate/bombs", testDeflateBombs},
	{"deflate/the limit is that of the message", testDeflateLimit},
	{"deflate/publications", testDeflatePublications},
	{"deflate/compressed once, if wanted", testDeflateOnce},
	{"deflate/bursts", testDeflateBursts},
	{"deflate/sessions", testDeflateSession},
	{"deflate/slow clients", testDeflateSlow},
}

// deflateNode starts a node that offers compression, with a large limit.
func deflateNode(t *testing.T, build kit.Build) *kit.Node {
	t.Helper()
	return kit.Start(t, build, func(s *kit.Setup) {
		s.Compression = true
		s.Limits.MaxMessageSize, s.Limits.MaxQueuedBytes = maxEcho, 4*maxEcho
	})
}

// noise is n bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	// It cannot fail.
	_, _ = rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

// offers are what clients may offer, and whether it is accepted; package wire
// tries many more.
var offers = []struct {
	name    string
	headers []string
	want    string
}{
	{"as Chromium", []string{"permessage-deflate; client_max_window_bits"}, "accepted"},
	{"our window of the largest size", []string{"permessage-deflate; server_max_window_bits=15; client_max_window_bits=9"}, "accepted with a window"},
	{"our window limited, then of the largest size", []string{"permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate; server_no_context_takeover; server_max_window_bits=15"}, "accepted with a window"},
	{"as Firefox", []string{"permessage-deflate"}, "accepted"},
	{"no context", []string{"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}, "accepted"},
	{"a fallback", []string{"permessage-deflate; server_max_window_bits=10, permessage-deflate"}, "accepted"},
	{"a fallback in a second header", []string{"permessage-deflate; unknown", "permessage-deflate; client_max_window_bits=10"}, "accepted"},
	{"first of two headers", []string{"permessage-deflate", "x-webkit-deflate-frame"}, "accepted"},
	{"another extension", []string{"x-webkit-deflate-frame"}, "declined"},
	{"unknown parameter", []string{"permessage-deflate; unknown"}, "declined"},
	{"our window limited", []string{"permessage-deflate; server_max_window_bits=10"}, "declined"},
	{"window of 7", []string{"permessage-deflate; client_max_window_bits=7"}, "declined"},
	{"a parameter twice", []string{"permessage-deflate; client_max_window_bits; client_max_window_bits"}, "declined"},
	{"a value too many", []string{"permessage-deflate; client_no_context_takeover=1"}, "declined"},
	{"none at all", nil, "declined"},
	{"no grammar", []string{"permessage-deflate; client_max_window_bits="}, "refused"},
	{"no grammar in a second header", []string{"permessage-deflate", "permessage-deflate;"}, "refused"},
	{"empty header", []string{""}, "refused"},
}

func testDeflateOffers(t *testing.T, build kit.Build) {
	n := deflateNode(t, build)
	refused := 0
	for _, offer := range offers {
		t.Run(offer.name, func(t *testing.T) {
			var headers []string
			for _, h := range offer.headers {
				headers = append(headers, "Sec-WebSocket-Extensions: "+h)
			}
			c := n.Dial(t)
			c.Write(kit.Upgrade(modes.PathEcho, headers...).Bytes())
			if offer.want == "refused" {
				c.ExpectRefusal(http.StatusBadRequest)
				refused++
				return
			}
			c.Deflate = strings.HasPrefix(offer.want, "accepted")
			c.Window = offer.want == "accepted with a window"
			c.ExpectUpgrade("")
			long := kit.Text(string(pattern(1000)))
			c.Send(long)
			if f := c.Frame(); !bytes.Equal(f.Body, long.Body) || (f.Rsv == kit.Rsv1) != c.Deflate {
				t.Errorf("the echo has reserved bits %#x and %s", f.Rsv, kit.Brief(f.Body))
			}
			c.Send(kit.Compressed(ws.OpText, long.Body))
			if c.Deflate {
				c.Expect(long)
			} else {
				c.ExpectClose(int(wire.DisconnectProtocol.Code))
			}
		})
	}
	kit.AwaitCount(t, n.Stats.Refused, handshake.RefusedExtensions.Reason, refused)
}

func testDeflateOff(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for name, offer := range map[string]string{"good": "permessage-deflate", "no grammar": "permessage-deflate;"} {
		t.Run(name, func(t *testing.T) {
			c := n.Open(t, modes.PathEcho, "Sec-WebSocket-Extensions: "+offer)
			c.Send(kit.Text(string(pattern(1000))))
			c.Expect(kit.Text(string(pattern(1000))))
			c.Send(kit.Compressed(ws.OpText, pattern(1000)))
			c.ExpectClose(int(wire.DisconnectProtocol.Code))
		})
	}
}

func testDeflateEcho(t *testing.T, build kit.Build) {
	c := deflateNode(t, build).OpenDeflate(t, modes.PathEcho)
	for _, size := range []int{0, 1, 100, 127, 128, 1000, 65535, 65536, 200_000, maxEcho} {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
			c.Send(kit.Frame{Op: ws.OpText, Rsv: kit.Rsv1, Body: kit.Deflate(level, pattern(size))})
			f := c.Frame()
			if f.Op != ws.OpText || !bytes.Equal(f.Body, pattern(size)) {
				t.Fatalf("%d bytes at level %d: got op %#x %s", size, level, f.Op, kit.Brief(f.Body))
			}
			if (f.Rsv == kit.Rsv1) != (size >= 128) {
				t.Errorf("%d bytes come back with reserved bits %#x", size, f.Rsv)
			}
		}
		// Plain messages may come between, and what does not get smaller goes
		// out plain.
		c.Send(kit.Frame{Op: ws.OpBinary, Body: noise(size)})
		if f := c.Frame(); f.Op != ws.OpBinary || f.Rsv != 0 || !bytes.Equal(f.Body, noise(size)) {
			t.Errorf("%d bytes of noise: got op %#x, reserved bits %#x", size, f.Op, f.Rsv)
		}
	}
	// No message at all, and one that ends with a block of its own (RFC 7692
	// sections 7.2.3.4 and 7.2.3.6).
	for sent, want := range map[string]string{"": "", "\x00": "", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00": "Hello"} {
		c.Send(kit.Frame{Op: ws.OpText, Rsv: kit.Rsv1, Body: []byte(sent)})
		c.Expect(kit.Text(want))
	}
	c.Send(kit.Closing(1000, ""))
	c.Expect(kit.Closing(1000, ""))
	c.ExpectCleanEnd()
}

// cutFrames cuts a compressed message into frames of size bytes, with a ping
// behind each but the last, and an empty one in the middle.
func cutFrames(whole kit.Frame, size int) (all []kit.Frame) {
	first := whole
	for rest := whole.Body; len(rest) > size; rest = rest[size:] {
		f := first
		f.Body, f.More = rest[:size], true
		all = append(all, f, kit.Frame{Op: ws.OpPing, Body: []byte("between")}, kit.Frame{Op: ws.OpContinuation, More: true})
		first = kit.Frame{Op: ws.OpContinuation}
		whole.Body = rest[size:]
	}
	first.Body = whole.Body
	return append(all, first)
}

func testDeflateFragments(t *testing.T, build kit.Build) {
	n := deflateNode(t, build)
	for _, size := range []int{1, 7, 1000} {
		for _, chopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("of %d, bytewise %t", size, chopped), func(t *testing.T) {
				c := n.OpenDeflate(t, modes.PathEcho)
				c.Chopped = chopped
				message := []byte(strings.Repeat("κόσμε", 10) + string(pattern(size*3)))
				all := cutFrames(kit.Compressed(ws.OpText, message), size)
				c.Send(all...)
				for i := 0; i < len(all)-1; i += 3 {
					c.Expect(kit.Frame{Op: ws.OpPong, Body: []byte("between")})
				}
				c.Expect(kit.Text(string(message)))
				// The bit of one message says nothing about the next.
				c.Send(kit.Text("plain"), kit.Compressed(ws.OpText, []byte("compressed")), kit.Text("plain"))
				for _, want := range []string{"plain", "compressed", "plain"} {
					c.Expect(kit.Text(want))
				}
			})
		}
	}
}

func testDeflateJoined(t *testing.T, build kit.Build) {
	n := deflateNode(t, build)
	const many = 2000
	c := n.OpenDeflate(t, modes.PathEcho)
	var all []byte
	for i := range many {
		f := kit.Text(strconv.Itoa(i))
		if i%3 != 0 {
			f = kit.Compressed(ws.OpText, f.Body)
		}
		all = f.Append(all)
	}
	wait := kit.Background(t, 1, func(t kit.Tester, _ int) {
		if err := c.TryWrite(all); err != nil {
			t.Errorf("write: %v", err)
		}
	})
	for i := range many {
		c.Expect(kit.Text(strconv.Itoa(i)))
	}
	wait()
}

// deflateViolations end a connection that has negotiated compression. Invalid
// compressed data is treated as invalid UTF-8 is: the frames are right, what they
// carry is not what they say.
var deflateViolations = []struct {
	name   string
	frames []kit.Frame
	code   wire.Disconnect
}{
	{"RSV1 on a continuation", []kit.Frame{{Op: ws.OpText, Rsv: kit.Rsv1, More: true}, {Op: ws.OpContinuation, Rsv: kit.Rsv1}}, wire.DisconnectProtocol},
	{"RSV1 on the continuation of a plain message", []kit.Frame{{Op: ws.OpText, More: true}, {Op: ws.OpContinuation, Rsv: kit.Rsv1}}, wire.DisconnectProtocol},
	{"RSV1 on a ping", []kit.Frame{{Op: ws.OpPing, Rsv: kit.Rsv1}}, wire.DisconnectProtocol},
	{"RSV1 on a pong", []kit.Frame{{Op: ws.OpPong, Rsv: kit.Rsv1}}, wire.DisconnectProtocol},
	{"RSV1 on a close", []kit.Frame{{Op: ws.OpClose, Rsv: kit.Rsv1}}, wire.DisconnectProtocol},
	{"RSV1 on a reserved opcode", []kit.Frame{{Op: 3, Rsv: kit.Rsv1}}, wire.DisconnectProtocol},
	{"RSV2", []kit.Frame{{Op: ws.OpText, Rsv: 0x20}}, wire.DisconnectProtocol},
	{"RSV1 and RSV3", []kit.Frame{{Op: ws.OpText, Rsv: 0x50}}, wire.DisconnectProtocol},
	{"a message in a compressed one", []kit.Frame{{Op: ws.OpText, Rsv: kit.Rsv1, More: true}, {Op: ws.OpText, Rsv: kit.Rsv1}}, wire.DisconnectProtocol},
	{"no compressed data", []kit.Frame{{Op: ws.OpBinary, Rsv: kit.Rsv1, Body: []byte("\xff\xff\xff")}}, wire.DisconnectInvalidPayload},
	{"cut short", []kit.Frame{{Op: ws.OpBinary, Rsv: kit.Rsv1, Body: kit.Deflate(9, pattern(1000))[:20]}}, wire.DisconnectInvalidPayload},
	{"more behind the last block", []kit.Frame{{Op: ws.OpBinary, Rsv: kit.Rsv1, Body: []byte("\x01\x05\x00\xfa\xffHello\xff")}}, wire.DisconnectInvalidPayload},
	{"context of the message before", []kit.Frame{
		{Op: ws.OpBinary, Rsv: kit.Rsv1, Body: []byte("\xf2\x48\xcd\xc9\xc9\x07\x00")},
		// The second "Hello" of RFC 7692 section 7.2.3.2.
		{Op: ws.OpBinary, Rsv: kit.Rsv1, Body: []byte("\xf2\x00\x11\x00\x00")},
	}, wire.DisconnectInvalidPayload},
	{"no UTF-8", []kit.Frame{kit.Compressed(ws.OpText, []byte("a\xffb"))}, wire.DisconnectInvalidPayload},
	{"a rune cut by the end", []kit.Frame{kit.Compressed(ws.OpText, []byte("a\xe2\x82"))}, wire.DisconnectInvalidPayload},
	{"a violation before the end", []kit.Frame{
		{Op: ws.OpBinary, Rsv: kit.Rsv1, More: true, Body: []byte("\xff\xff\xff")}, {Op: ws.OpBinary},
	}, wire.DisconnectProtocol},
}

func testDeflateViolations(t *testing.T, build kit.Build) {
	n := deflateNode(t, build)
	for _, test := range deflateViolations {
		for _, target := range []string{modes.PathEcho, modes.PathRaw + "?channel=news", modes.PathCentrifuge} {
			t.Run(test.name+" on "+target, func(t *testing.T) {
				c := n.OpenDeflate(t, target)
				if c.Protocol.Session() {
					c.Connect()
					if test.frames[0].Op == ws.OpBinary && test.code == wire.DisconnectInvalidPayload && len(test.frames) > 1 {
						t.Skip("the message before is no command")
					}
				}
				c.Send(test.frames...)
				c.ExpectCloseLater(int(test.code.Code))
			})
		}
	}
}

func testDeflateBombs(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Compression = true
		s.Limits.MaxMessageSize = 10_000
	})
	bomb := kit.Compressed(ws.OpText, make([]byte, 8<<20))
	bomb.Body = bomb.Body[:min(len(bomb.Body), 9000)]
	for _, target := range []string{modes.PathEcho, modes.PathRaw + "?channel=news", modes.PathCentrifuge} {
		for name, frames := range map[string][]kit.Frame{
			"a bomb": {bomb}, "in fragments": cutFrames(bomb, 1000),
			"one byte too many": {kit.Compressed(ws.OpText, pattern(10_001))},
			// What is too large compressed need not be inflated, nor come.
			"large as it comes": {{Op: ws.OpBinary, Rsv: kit.Rsv1, Declares: uint64(wire.DeflatedLimit(10_000)) + 1}},
		} {
			t.Run(name+" to "+target, func(t *testing.T) {
				c := n.OpenDeflate(t, target)
				if c.Protocol.Session() {
					c.Connect()
				}
				c.Send(frames...)
				for {
					f := c.Frame()
					if f.Op != ws.OpPong {
						c.Finish(int(wire.DisconnectTooBig.Code), f)
						return
					}
				}
			})
		}
	}
}

func testDeflateLimit(t *testing.T, build kit.Build) {
	n := deflateNode(t, build)
	c := n.OpenDeflate(t, modes.PathEcho)
	// What does not compress is larger compressed than the limit, and allowed.
	for _, f := range []kit.Frame{
		{Op: ws.OpBinary, Rsv: kit.Rsv1, Body: kit.Deflate(flate.NoCompression, noise(maxEcho))},
		kit.Compressed(ws.OpBinary, noise(maxEcho)),
	} {
		c.Send(f)
		c.Expect(kit.Frame{Op: ws.OpBinary, Body: noise(maxEcho)})
	}
	c.Send(kit.Compressed(ws.OpBinary, noise(maxEcho+1)))
	c.ExpectClose(int(wire.DisconnectTooBig.Code))
}

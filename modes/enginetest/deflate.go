package enginetest

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
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

// rsv1 marks the first frame of a compressed message (RFC 7692 section 6).
const rsv1 = 0x40

// deflate returns what a client that keeps no context makes of data. The
// implementation is not that of the server.
func deflate(level int, data []byte) []byte {
	var out bytes.Buffer
	// The errors are those of a level that does not exist, and of a buffer that
	// does not take what it is given.
	w, _ := flate.NewWriter(&out, level)
	_, _ = w.Write(data)
	_ = w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte("\x00\x00\xff\xff"))
}

// compressed is the frame that carries data compressed.
func compressed(op ws.OpCode, data []byte) frame {
	return frame{op: op, rsv: rsv1, body: deflate(flate.DefaultCompression, data)}
}

// inflate makes a compressed message a plain one, on its own: the server may not
// refer to what it has sent before. The bit stays.
func (f *frame) inflate() error {
	tail := strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")
	body, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(f.body), tail)))
	if err != nil {
		return fmt.Errorf("inflate %x: %w", f.body, err)
	}
	f.body = body
	return nil
}

// deflateNode starts a node that offers compression, with a large limit.
func deflateNode(t *testing.T, build Build) *node {
	t.Helper()
	return start(t, build, func(s *setup) {
		s.compression = true
		s.limits.MaxMessageSize, s.limits.MaxQueuedBytes = maxEcho, 4*maxEcho
	})
}

// openDeflate opens a connection that has negotiated permessage-deflate.
func (n *node) openDeflate(t tester, target string, headers ...string) *client {
	t.Helper()
	c := n.dial(t)
	c.deflate = true
	c.handshake(target, headers...)
	return c
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

func testDeflateOffers(t *testing.T, build Build) {
	n := deflateNode(t, build)
	refused := 0
	for _, offer := range offers {
		t.Run(offer.name, func(t *testing.T) {
			var headers []string
			for _, h := range offer.headers {
				headers = append(headers, "Sec-WebSocket-Extensions: "+h)
			}
			c := n.dial(t)
			c.write(upgrade(modes.PathEcho, headers...).bytes())
			if offer.want == "refused" {
				c.expectRefusal(http.StatusBadRequest)
				refused++
				return
			}
			c.deflate = strings.HasPrefix(offer.want, "accepted")
			c.window = offer.want == "accepted with a window"
			c.expectUpgrade("")
			long := text(string(pattern(1000)))
			c.send(long)
			if f := c.frame(); !bytes.Equal(f.body, long.body) || (f.rsv == rsv1) != c.deflate {
				t.Errorf("the echo has reserved bits %#x and %s", f.rsv, brief(f.body))
			}
			c.send(compressed(ws.OpText, long.body))
			if c.deflate {
				c.expect(long)
			} else {
				c.expectClose(int(wire.DisconnectProtocol.Code))
			}
		})
	}
	awaitCount(t, n.stats.Refused, handshake.RefusedExtensions.Reason, refused)
}

func testDeflateOff(t *testing.T, build Build) {
	n := start(t, build, nil)
	for name, offer := range map[string]string{"good": "permessage-deflate", "no grammar": "permessage-deflate;"} {
		t.Run(name, func(t *testing.T) {
			c := n.open(t, modes.PathEcho, "Sec-WebSocket-Extensions: "+offer)
			c.send(text(string(pattern(1000))))
			c.expect(text(string(pattern(1000))))
			c.send(compressed(ws.OpText, pattern(1000)))
			c.expectClose(int(wire.DisconnectProtocol.Code))
		})
	}
}

func testDeflateEcho(t *testing.T, build Build) {
	c := deflateNode(t, build).openDeflate(t, modes.PathEcho)
	for _, size := range []int{0, 1, 100, 127, 128, 1000, 65535, 65536, 200_000, maxEcho} {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
			c.send(frame{op: ws.OpText, rsv: rsv1, body: deflate(level, pattern(size))})
			f := c.frame()
			if f.op != ws.OpText || !bytes.Equal(f.body, pattern(size)) {
				t.Fatalf("%d bytes at level %d: got op %#x %s", size, level, f.op, brief(f.body))
			}
			if (f.rsv == rsv1) != (size >= 128) {
				t.Errorf("%d bytes come back with reserved bits %#x", size, f.rsv)
			}
		}
		// Plain messages may come between, and what does not get smaller goes
		// out plain.
		c.send(frame{op: ws.OpBinary, body: noise(size)})
		if f := c.frame(); f.op != ws.OpBinary || f.rsv != 0 || !bytes.Equal(f.body, noise(size)) {
			t.Errorf("%d bytes of noise: got op %#x, reserved bits %#x", size, f.op, f.rsv)
		}
	}
	// No message at all, and one that ends with a block of its own (RFC 7692
	// sections 7.2.3.4 and 7.2.3.6).
	for sent, want := range map[string]string{"": "", "\x00": "", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00": "Hello"} {
		c.send(frame{op: ws.OpText, rsv: rsv1, body: []byte(sent)})
		c.expect(text(want))
	}
	c.send(closing(1000, ""))
	c.expect(closing(1000, ""))
	c.expectCleanEnd()
}

// cutFrames cuts a compressed message into frames of size bytes, with a ping
// behind each but the last, and an empty one in the middle.
func cutFrames(whole frame, size int) (all []frame) {
	first := whole
	for rest := whole.body; len(rest) > size; rest = rest[size:] {
		f := first
		f.body, f.more = rest[:size], true
		all = append(all, f, frame{op: ws.OpPing, body: []byte("between")}, frame{op: ws.OpContinuation, more: true})
		first = frame{op: ws.OpContinuation}
		whole.body = rest[size:]
	}
	first.body = whole.body
	return append(all, first)
}

func testDeflateFragments(t *testing.T, build Build) {
	n := deflateNode(t, build)
	for _, size := range []int{1, 7, 1000} {
		for _, chopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("of %d, bytewise %t", size, chopped), func(t *testing.T) {
				c := n.openDeflate(t, modes.PathEcho)
				c.chopped = chopped
				message := []byte(strings.Repeat("κόσμε", 10) + string(pattern(size*3)))
				all := cutFrames(compressed(ws.OpText, message), size)
				c.send(all...)
				for i := 0; i < len(all)-1; i += 3 {
					c.expect(frame{op: ws.OpPong, body: []byte("between")})
				}
				c.expect(text(string(message)))
				// The bit of one message says nothing about the next.
				c.send(text("plain"), compressed(ws.OpText, []byte("compressed")), text("plain"))
				for _, want := range []string{"plain", "compressed", "plain"} {
					c.expect(text(want))
				}
			})
		}
	}
}

func testDeflateJoined(t *testing.T, build Build) {
	n := deflateNode(t, build)
	const many = 2000
	c := n.openDeflate(t, modes.PathEcho)
	var all []byte
	for i := range many {
		f := text(strconv.Itoa(i))
		if i%3 != 0 {
			f = compressed(ws.OpText, f.body)
		}
		all = f.append(all)
	}
	wait := background(t, 1, func(t tester, _ int) {
		if err := c.tryWrite(all); err != nil {
			t.Errorf("write: %v", err)
		}
	})
	for i := range many {
		c.expect(text(strconv.Itoa(i)))
	}
	wait()
}

// deflateViolations end a connection that has negotiated compression. Invalid
// compressed data is treated as invalid UTF-8 is: the frames are right, what they
// carry is not what they say.
var deflateViolations = []struct {
	name   string
	frames []frame
	code   wire.Disconnect
}{
	{"RSV1 on a continuation", []frame{{op: ws.OpText, rsv: rsv1, more: true}, {op: ws.OpContinuation, rsv: rsv1}}, wire.DisconnectProtocol},
	{"RSV1 on the continuation of a plain message", []frame{{op: ws.OpText, more: true}, {op: ws.OpContinuation, rsv: rsv1}}, wire.DisconnectProtocol},
	{"RSV1 on a ping", []frame{{op: ws.OpPing, rsv: rsv1}}, wire.DisconnectProtocol},
	{"RSV1 on a pong", []frame{{op: ws.OpPong, rsv: rsv1}}, wire.DisconnectProtocol},
	{"RSV1 on a close", []frame{{op: ws.OpClose, rsv: rsv1}}, wire.DisconnectProtocol},
	{"RSV1 on a reserved opcode", []frame{{op: 3, rsv: rsv1}}, wire.DisconnectProtocol},
	{"RSV2", []frame{{op: ws.OpText, rsv: 0x20}}, wire.DisconnectProtocol},
	{"RSV1 and RSV3", []frame{{op: ws.OpText, rsv: 0x50}}, wire.DisconnectProtocol},
	{"a message in a compressed one", []frame{{op: ws.OpText, rsv: rsv1, more: true}, {op: ws.OpText, rsv: rsv1}}, wire.DisconnectProtocol},
	{"no compressed data", []frame{{op: ws.OpBinary, rsv: rsv1, body: []byte("\xff\xff\xff")}}, wire.DisconnectInvalidPayload},
	{"cut short", []frame{{op: ws.OpBinary, rsv: rsv1, body: deflate(9, pattern(1000))[:20]}}, wire.DisconnectInvalidPayload},
	{"more behind the last block", []frame{{op: ws.OpBinary, rsv: rsv1, body: []byte("\x01\x05\x00\xfa\xffHello\xff")}}, wire.DisconnectInvalidPayload},
	{"context of the message before", []frame{
		{op: ws.OpBinary, rsv: rsv1, body: []byte("\xf2\x48\xcd\xc9\xc9\x07\x00")},
		// The second "Hello" of RFC 7692 section 7.2.3.2.
		{op: ws.OpBinary, rsv: rsv1, body: []byte("\xf2\x00\x11\x00\x00")},
	}, wire.DisconnectInvalidPayload},
	{"no UTF-8", []frame{compressed(ws.OpText, []byte("a\xffb"))}, wire.DisconnectInvalidPayload},
	{"a rune cut by the end", []frame{compressed(ws.OpText, []byte("a\xe2\x82"))}, wire.DisconnectInvalidPayload},
	{"a violation before the end", []frame{
		{op: ws.OpBinary, rsv: rsv1, more: true, body: []byte("\xff\xff\xff")}, {op: ws.OpBinary},
	}, wire.DisconnectProtocol},
}

func testDeflateViolations(t *testing.T, build Build) {
	n := deflateNode(t, build)
	for _, test := range deflateViolations {
		for _, target := range []string{modes.PathEcho, modes.PathRaw + "?channel=news", modes.PathCentrifuge} {
			t.Run(test.name+" on "+target, func(t *testing.T) {
				c := n.openDeflate(t, target)
				if c.protocol.Session() {
					c.connect()
					if test.frames[0].op == ws.OpBinary && test.code == wire.DisconnectInvalidPayload && len(test.frames) > 1 {
						t.Skip("the message before is no command")
					}
				}
				c.send(test.frames...)
				c.expectCloseLater(int(test.code.Code))
			})
		}
	}
}

func testDeflateBombs(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.compression = true
		s.limits.MaxMessageSize = 10_000
	})
	bomb := compressed(ws.OpText, make([]byte, 8<<20))
	bomb.body = bomb.body[:min(len(bomb.body), 9000)]
	for _, target := range []string{modes.PathEcho, modes.PathRaw + "?channel=news", modes.PathCentrifuge} {
		for name, frames := range map[string][]frame{
			"a bomb": {bomb}, "in fragments": cutFrames(bomb, 1000),
			"one byte too many": {compressed(ws.OpText, pattern(10_001))},
			// What is too large compressed need not be inflated, nor come.
			"large as it comes": {{op: ws.OpBinary, rsv: rsv1, declares: uint64(wire.DeflatedLimit(10_000)) + 1}},
		} {
			t.Run(name+" to "+target, func(t *testing.T) {
				c := n.openDeflate(t, target)
				if c.protocol.Session() {
					c.connect()
				}
				c.send(frames...)
				for {
					f := c.frame()
					if f.op != ws.OpPong {
						c.finish(int(wire.DisconnectTooBig.Code), f)
						return
					}
				}
			})
		}
	}
}

func testDeflateLimit(t *testing.T, build Build) {
	n := deflateNode(t, build)
	c := n.openDeflate(t, modes.PathEcho)
	// What does not compress is larger compressed than the limit, and allowed.
	for _, f := range []frame{
		{op: ws.OpBinary, rsv: rsv1, body: deflate(flate.NoCompression, noise(maxEcho))},
		compressed(ws.OpBinary, noise(maxEcho)),
	} {
		c.send(f)
		c.expect(frame{op: ws.OpBinary, body: noise(maxEcho)})
	}
	c.send(compressed(ws.OpBinary, noise(maxEcho+1)))
	c.expectClose(int(wire.DisconnectTooBig.Code))
}

package enginetest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/wire"
)

var frameCases = []suiteCase{
	{"frames/sizes", testFrameSizes},
	{"frames/16 MB", testLargestSize},
	{"frames/length forms", testLengthForms},
	{"frames/chopped", testFramesChopped},
	{"frames/many in one segment", testFramesJoined},
	{"frames/fragments", testFragments},
	{"frames/ping", testPing},
	{"frames/violations", testViolations},
	{"frames/too big", testTooBig},
	{"frames/too big on a session", testTooBigSession},
	{"frames/exactly the limit", testExactlyTheLimit},
}

// maxEcho is the message size limit of the nodes whose echo takes large ones.
const maxEcho = 1 << 20

func echoNode(t *testing.T, build Build) *node {
	t.Helper()
	return start(t, build, func(s *setup) {
		s.limits.MaxMessageSize, s.limits.MaxQueuedBytes = maxEcho, 4*maxEcho
	})
}

// pattern is n bytes of text in which every place shows.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdefghijklmnopqrstuvwxyz_"[i%37]
	}
	return b
}

func testFrameSizes(t *testing.T, build Build) {
	c := echoNode(t, build).open(t, modes.PathEcho)
	for _, size := range []int{0, 1, 2, 124, 125, 126, 127, 128, 1000, 4095, 4096, 4097, 65534, 65535, 65536, 65537, 300_000, maxEcho} {
		for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
			f := frame{op: op, body: pattern(size)}
			c.send(f)
			c.expect(f)
		}
	}
	c.send(closing(1000, ""))
	c.expect(closing(1000, ""))
	c.expectCleanEnd()
}

func testLargestSize(t *testing.T, build Build) {
	const size = 16 << 20
	c := start(t, build, func(s *setup) {
		s.limits.MaxMessageSize, s.limits.MaxQueuedBytes = size, 4*size
	}).open(t, modes.PathEcho)
	f := frame{op: ws.OpText, body: pattern(size)}
	c.send(f)
	c.expect(f)
}

// A length may not be written longer than it is (RFC 6455 section 5.2).
func testLengthForms(t *testing.T, build Build) {
	n := echoNode(t, build)
	for _, f := range []frame{
		{op: ws.OpText, body: pattern(5), form: 16},
		{op: ws.OpText, body: pattern(125), form: 64},
		{op: ws.OpText, body: pattern(126), form: 64},
		{op: ws.OpText, body: pattern(65535), form: 64},
		{op: ws.OpPing, body: pattern(5), form: 16},
		{op: ws.OpText, form: 16},
	} {
		t.Run(fmt.Sprintf("op %#x of %d in %d bits", f.op, len(f.body), f.form), func(t *testing.T) {
			c := n.open(t, modes.PathEcho)
			c.send(f)
			c.expectClose(int(wire.DisconnectProtocol.Code))
		})
	}
}

func testFramesChopped(t *testing.T, build Build) {
	c := echoNode(t, build).open(t, modes.PathEcho)
	c.chopped = true
	for _, size := range []int{0, 1, 125, 126, 1000} {
		c.send(text(string(pattern(size))), frame{op: ws.OpPing, body: pattern(min(size, 125))})
		c.expect(text(string(pattern(size))))
		c.expect(frame{op: ws.OpPong, body: pattern(min(size, 125))})
	}
	c.send(closing(1000, "chopped"))
	c.expect(closing(1000, ""))
	c.expectCleanEnd()
}

func testFramesJoined(t *testing.T, build Build) {
	n := echoNode(t, build)
	const many = 500
	for _, size := range []int{0, 10, 1000} {
		c := n.open(t, modes.PathEcho)
		var all []byte
		for i := range many {
			all = text(fmt.Sprintf("%d %s", i, pattern(size))).append(all)
		}
		wait := background(t, 1, func(t tester, _ int) {
			if err := c.tryWrite(all); err != nil {
				t.Errorf("write: %v", err)
			}
		})
		for i := range many {
			c.expect(text(fmt.Sprintf("%d %s", i, pattern(size))))
		}
		wait()
	}
}

func testFragments(t *testing.T, build Build) {
	c := echoNode(t, build).open(t, modes.PathEcho)
	for name, test := range map[string]struct {
		op    ws.OpCode
		parts []string
	}{
		"two":           {ws.OpText, []string{"one, ", "two"}},
		"binary":        {ws.OpBinary, []string{"\xff\xfe", "\x00"}},
		"empty first":   {ws.OpText, []string{"", "all"}},
		"empty last":    {ws.OpText, []string{"all", ""}},
		"all empty":     {ws.OpText, []string{"", "", ""}},
		"many":          {ws.OpText, slices.Repeat([]string{"part "}, 1000)},
		"large":         {ws.OpText, []string{string(pattern(70_000)), string(pattern(70_000))}},
		"rune cut":      {ws.OpText, []string{"\xe2", "\x82", "\xac"}},
		"rune cut late": {ws.OpText, []string{"price: \xf0\x9f\x98", "", "\x80 ok"}},
	} {
		for _, pings := range []bool{false, true} {
			for _, oneSegment := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/pings %t/one segment %t", name, pings, oneSegment), func(t *testing.T) {
					c.t = t
					var whole []byte
					var frames []frame
					var pongs []frame
					for i, part := range test.parts {
						f := frame{op: ws.OpContinuation, body: []byte(part), more: i < len(test.parts)-1}
						if i == 0 {
							f.op = test.op
						}
						whole = append(whole, part...)
						frames = append(frames, f)
						if pings && f.more && i < 3 {
							ping := fmt.Appendf(nil, "between %d", i)
							frames = append(frames, frame{op: ws.OpPing, body: ping}, frame{op: ws.OpPong, body: ping})
							pongs = append(pongs, frame{op: ws.OpPong, body: ping})
						}
					}
					if oneSegment {
						c.send(frames...)
					} else {
						for _, f := range frames {
							c.send(f)
						}
					}
					for _, pong := range pongs {
						c.expect(pong)
					}
					c.expect(frame{op: test.op, body: whole})
				})
			}
		}
	}
}

func testPing(t *testing.T, build Build) {
	n := echoNode(t, build)
	for _, path := range []string{modes.PathEcho, modes.PathRaw + "?channel=news", modes.PathCentrifuge} {
		c := n.open(t, path)
		for _, size := range []int{0, 1, 124, 125} {
			body := bytes.Repeat([]byte{0xff, 0}, 63)[:size]
			c.send(frame{op: ws.OpPing, body: body})
			c.expect(frame{op: ws.OpPong, body: body})
		}
		// A pong that nobody asked for is no reason for anything.
		c.send(frame{op: ws.OpPong, body: []byte("unasked")}, frame{op: ws.OpPing})
		c.expect(frame{op: ws.OpPong})
	}
}

// violations break RFC 6455; every one ends the connection with 1002.
var violations = map[string][]frame{
	"unmasked text":              {{op: ws.OpText, body: []byte("{}"), unmasked: true}},
	"unmasked ping":              {{op: ws.OpPing, unmasked: true}},
	"unmasked close":             {{op: ws.OpClose, unmasked: true}},
	"reserved bit 1":             {{op: ws.OpText, body: []byte("{}"), rsv: 0x40}},
	"reserved bit 2":             {{op: ws.OpText, body: []byte("{}"), rsv: 0x20}},
	"reserved bit 3":             {{op: ws.OpBinary, body: []byte("{}"), rsv: 0x10}},
	"reserved bits of a ping":    {{op: ws.OpPing, rsv: 0x70}},
	"reserved bit of a close":    {{op: ws.OpClose, rsv: 0x40}},
	"opcode 3":                   {{op: 3}},
	"opcode 4":                   {{op: 4, body: []byte("{}")}},
	"opcode 5":                   {{op: 5}},
	"opcode 6":                   {{op: 6}},
	"opcode 7":                   {{op: 7, body: []byte("{}")}},
	"opcode 11":                  {{op: 11}},
	"opcode 12":                  {{op: 12, body: []byte("{}")}},
	"opcode 13":                  {{op: 13}},
	"opcode 14":                  {{op: 14}},
	"opcode 15":                  {{op: 15}},
	"fragmented ping":            {{op: ws.OpPing, more: true}},
	"fragmented pong":            {{op: ws.OpPong, more: true}},
	"fragmented close":           {{op: ws.OpClose, more: true}},
	"ping of 126":                {{op: ws.OpPing, body: pattern(126)}},
	"ping of 70,000":             {{op: ws.OpPing, body: pattern(70_000)}},
	"pong of 126":                {{op: ws.OpPong, body: pattern(126)}},
	"continuation of nothing":    {{op: ws.OpContinuation, body: []byte("{}")}},
	"open continuation":          {{op: ws.OpContinuation, body: []byte("{}"), more: true}},
	"text in a message":          {{op: ws.OpText, body: []byte("{"), more: true}, {op: ws.OpText, body: []byte("}")}},
	"binary in a message":        {{op: ws.OpText, body: []byte("{"), more: true}, {op: ws.OpBinary, body: []byte("}")}},
	"reserved bit in the middle": {{op: ws.OpText, body: []byte("{"), more: true}, {op: ws.OpContinuation, body: []byte("}"), rsv: 0x40}},
	"length with the top bit":    {{op: ws.OpBinary, declares: 1 << 63}},
	"all bits of the length":     {{op: ws.OpBinary, declares: 1<<64 - 1}},
}

func testViolations(t *testing.T, build Build) {
	n := start(t, build, nil)
	ends := 0
	for name, frames := range violations {
		for _, path := range []string{modes.PathEcho, modes.PathCentrifuge, modes.PathRaw + "?channel=news"} {
			for _, chopped := range []bool{false, true} {
				if chopped && len(frames[0].body) > 1000 {
					continue
				}
				ends++
				t.Run(fmt.Sprintf("%s%s/chopped %t", name, path, chopped), func(t *testing.T) {
					c := n.open(t, path)
					c.chopped = chopped
					frames := frames
					if path == modes.PathEcho {
						// What came before is answered first.
						frames = append([]frame{text("before")}, frames...)
					}
					// The rest may meet a connection that is closed by now.
					if err := c.tryWrite(encode(frames...)); err != nil && !ended(err) {
						t.Fatal(err)
					}
					if path == modes.PathEcho {
						c.expect(text("before"))
					}
					c.expectClose(int(wire.DisconnectProtocol.Code))
				})
			}
		}
	}
	n.awaitDisconnects(t, wire.DisconnectProtocol.Reason, ends)
	t.Run("continuation after the end", func(t *testing.T) {
		c := n.open(t, modes.PathEcho)
		c.send(frame{op: ws.OpText, body: []byte("o"), more: true}, frame{op: ws.OpContinuation, body: []byte("k")},
			frame{op: ws.OpContinuation})
		c.expect(text("ok"))
		c.expectClose(int(wire.DisconnectProtocol.Code))
	})
}

func testTooBig(t *testing.T, build Build) {
	n := start(t, build, nil)
	limit := n.limits.MaxMessageSize
	for name, frames := range map[string][]frame{
		"declared, one over":   {{op: ws.OpText, declares: uint64(limit) + 1}},
		"declared, the most":   {{op: ws.OpText, declares: 1<<63 - 1}},
		"declared, 4 GB":       {{op: ws.OpBinary, declares: 1 << 32}},
		"one over":             {{op: ws.OpText, body: pattern(limit + 1)}},
		"far over":             {{op: ws.OpBinary, body: pattern(10 * limit)}},
		"fragments, one over":  {{op: ws.OpText, body: pattern(limit), more: true}, {op: ws.OpContinuation, body: pattern(1)}},
		"fragments, declared":  {{op: ws.OpText, body: pattern(10), more: true}, {op: ws.OpContinuation, declares: 1<<63 - 1}},
		"fragments, the limit": {{op: ws.OpText, body: pattern(10), more: true}, {op: ws.OpContinuation, declares: uint64(limit)}},
	} {
		t.Run(name, func(t *testing.T) {
			c := n.open(t, modes.PathEcho)
			// The server need not read the rest.
			if err := c.tryWrite(encode(frames...)); err != nil && !ended(err) {
				t.Fatal(err)
			}
			c.expectClose(int(wire.DisconnectTooBig.Code))
		})
	}
	t.Run("endless fragments", func(t *testing.T) {
		c := n.open(t, modes.PathEcho)
		c.send(frame{op: ws.OpText, more: true})
		part := encode(slices.Repeat([]frame{{op: ws.OpContinuation, body: pattern(100), more: true}}, limit/100+1)...)
		if err := c.tryWrite(part); err != nil && !ended(err) {
			t.Fatal(err)
		}
		c.expectClose(int(wire.DisconnectTooBig.Code))
	})
}

func testTooBigSession(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.session(t, "news")
	if err := c.tryWrite(encode(frame{op: ws.OpText, body: pattern(n.limits.MaxMessageSize + 1)})); err != nil && !ended(err) {
		t.Fatal(err)
	}
	c.expectClose(int(wire.DisconnectTooBig.Code))
	n.settle(t)
}

func testExactlyTheLimit(t *testing.T, build Build) {
	n := start(t, build, nil)
	limit := n.limits.MaxMessageSize
	echo := n.open(t, modes.PathEcho)
	whole := text(string(pattern(limit)))
	echo.send(whole)
	echo.expect(whole)
	echo.send(frame{op: ws.OpText, body: whole.body[:100], more: true}, frame{op: ws.OpContinuation, body: whole.body[100:]})
	echo.expect(whole)

	// A command of exactly the limit: spaces are no content.
	session := n.session(t)
	command := []byte(`{"id":2,"subscribe":{"channel":"news"}}`)
	session.send(frame{op: ws.OpText, body: append(bytes.Repeat([]byte(" "), limit-len(command)), command...)})
	if r := session.reply(2); r.Subscribe == nil {
		t.Errorf("got %s, want the subscribe reply", show(r))
	}
}

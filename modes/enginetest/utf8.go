package enginetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/wire"
)

var utf8Cases = []suiteCase{
	{"utf8/valid", testValidText},
	{"utf8/invalid", testInvalidText},
	{"utf8/fails fast", testInvalidTextFast},
	{"utf8/on a session", testInvalidTextSession},
}

var validTexts = []string{
	"Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\u007f", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000",
	"\U0010ffff", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\ufeffBOM", "\U0001f600",
}

var invalidTexts = map[string]string{
	"lone continuation":       "\x80",
	"two continuations":       "a\x80\xbf",
	"byte 0xfe":               "\xfe",
	"byte 0xff":               "ok\xffok",
	"lone start of 2":         "\xc3 ",
	"lone start of 3":         "\xe2 ",
	"lone start of 4":         "\xf0 ",
	"truncated 2":             "\xc3",
	"truncated 3":             "\xe2\x82",
	"truncated 4":             "\xf0\x9f\x98",
	"truncated, then text":    "\xe2\x82abc",
	"overlong slash, 2":       "\xc0\xaf",
	"overlong slash, 3":       "\xe0\x80\xaf",
	"overlong slash, 4":       "\xf0\x80\x80\xaf",
	"overlong NUL":            "\xc0\x80",
	"largest overlong, 2":     "\xc1\xbf",
	"largest overlong, 3":     "\xe0\x9f\xbf",
	"largest overlong, 4":     "\xf0\x8f\xbf\xbf",
	"first surrogate":         "\xed\xa0\x80",
	"last surrogate":          "\xed\xbf\xbf",
	"surrogate pair":          "\xed\xa0\xbd\xed\xb8\x80",
	"above U+10FFFF":          "\xf4\x90\x80\x80",
	"five bytes":              "\xf8\x88\x80\x80\x80",
	"six bytes":               "\xfc\x84\x80\x80\x80\x80",
	"after valid text":        "κόσμε\xed\xa0\x80edited",
	"in the last of 1,000":    strings.Repeat("x", 999) + "\xff",
	"cut rune at 1,000 bytes": strings.Repeat("x", 998) + "\xe2\x82",
}

func testValidText(t *testing.T, build Build) {
	c := start(t, build, nil).open(t, modes.PathEcho)
	for _, s := range append(validTexts, strings.Join(validTexts, "")) {
		c.send(text(s))
		c.expect(text(s))
		c.sendBytewise(s)
		c.expect(text(s))
	}
	// Binary messages may hold anything.
	for _, s := range invalidTexts {
		c.send(binaryFrame(s))
		c.expect(binaryFrame(s))
	}
}

// sendBytewise sends a text message with every byte in a fragment of its own.
func (c *client) sendBytewise(s string) {
	c.t.Helper()
	frames := []frame{{op: ws.OpText, more: true}}
	for i := range len(s) {
		frames = append(frames, frame{op: ws.OpContinuation, body: []byte(s[i : i+1]), more: true})
	}
	frames = append(frames, frame{op: ws.OpContinuation})
	// The server may find the message broken before it has all of it.
	if err := c.tryWrite(encode(frames...)); err != nil && !ended(err) {
		c.t.Fatalf("write: %v", err)
	}
}

func testInvalidText(t *testing.T, build Build) {
	n := start(t, build, nil)
	for name, s := range invalidTexts {
		for _, form := range []string{"one frame", "bytewise"} {
			t.Run(fmt.Sprintf("%s/%s", name, form), func(t *testing.T) {
				c := n.open(t, modes.PathEcho)
				if form == "bytewise" {
					c.sendBytewise(s)
				} else {
					c.send(text(s))
				}
				c.expectClose(int(wire.DisconnectInvalidPayload.Code))
			})
		}
	}
}

// What is certainly no UTF-8 ends the connection before the rest has come.
func testInvalidTextFast(t *testing.T, build Build) {
	n := start(t, build, nil)
	t.Run("between fragments", func(t *testing.T) {
		c := n.open(t, modes.PathEcho)
		c.send(frame{op: ws.OpText, body: []byte("ok \xf4\x90"), more: true})
		c.expectClose(int(wire.DisconnectInvalidPayload.Code))
	})
	t.Run("across fragments", func(t *testing.T) {
		c := n.open(t, modes.PathEcho)
		c.send(frame{op: ws.OpText, body: []byte("ok \xf4"), more: true},
			frame{op: ws.OpContinuation, body: []byte("\x90"), more: true})
		c.expectClose(int(wire.DisconnectInvalidPayload.Code))
	})
	t.Run("in the middle of a frame", func(t *testing.T) {
		c := n.open(t, modes.PathEcho)
		whole := encode(text("ok \xed\xa0\x80" + string(pattern(10_000))))
		c.write(whole[:100])
		c.expectClose(int(wire.DisconnectInvalidPayload.Code))
	})
}

func testInvalidTextSession(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.session(t, "news")
	c.send(text("{\"id\":9,\"subscribe\":{\"channel\":\"\xff\"}}"))
	c.expectClose(int(wire.DisconnectInvalidPayload.Code))
	raw := n.open(t, modes.PathRaw+"?channel=news")
	raw.send(text("\xc0\x80"))
	raw.expectClose(int(wire.DisconnectInvalidPayload.Code))
	n.settle(t)
}

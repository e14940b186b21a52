package enginetest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var frameCases = []suiteCase{
	{"frames/many in one segment", testFramesJoined},
	{"frames/too big on a session", testTooBigSession},
	{"frames/command of exactly the limit", testExactlyTheLimit},
	{"frames/command that is no UTF-8", testInvalidTextSession},
}

// Frames that come together are answered each, and all.
func testFramesJoined(t *testing.T, build Build) {
	n := start(t, build, nil)
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
	// Spaces do not count as content.
	session := n.session(t)
	command := []byte(`{"id":2,"subscribe":{"channel":"news"}}`)
	session.send(frame{op: ws.OpText, body: append(bytes.Repeat([]byte(" "), limit-len(command)), command...)})
	if r := session.reply(2); r.Subscribe == nil {
		t.Errorf("got %s, want the subscribe reply", show(r))
	}
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

package enginetest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var frameCases = []suiteCase{
	{"frames/many in one segment", testFramesJoined},
	{"frames/too big on a session", testTooBigSession},
	{"frames/command of exactly the limit", testExactlyTheLimit},
	{"frames/command that is no UTF-8", testInvalidTextSession},
}

// Frames that come together are answered each, and all.
func testFramesJoined(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const many = 500
	for _, size := range []int{0, 10, 1000} {
		c := n.Open(t, modes.PathEcho)
		var all []byte
		for i := range many {
			all = kit.Text(fmt.Sprintf("%d %s", i, pattern(size))).Append(all)
		}
		wait := kit.Background(t, 1, func(t kit.Tester, _ int) {
			if err := c.TryWrite(all); err != nil {
				t.Errorf("write: %v", err)
			}
		})
		for i := range many {
			c.Expect(kit.Text(fmt.Sprintf("%d %s", i, pattern(size))))
		}
		wait()
	}
}

func testTooBigSession(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Session(t, "news")
	if err := c.TryWrite(kit.Encode(kit.Frame{Op: ws.OpText, Body: pattern(n.Limits.MaxMessageSize + 1)})); err != nil && !kit.Ended(err) {
		t.Fatal(err)
	}
	c.ExpectClose(int(wire.DisconnectTooBig.Code))
	n.Settle(t)
}

func testExactlyTheLimit(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	limit := n.Limits.MaxMessageSize
	// Spaces do not count as content.
	session := n.Session(t)
	command := []byte(`{"id":2,"subscribe":{"channel":"news"}}`)
	session.Send(kit.Frame{Op: ws.OpText, Body: append(bytes.Repeat([]byte(" "), limit-len(command)), command...)})
	if r := session.Reply(2); r.Subscribe == nil {
		t.Errorf("got %s, want the subscribe reply", kit.Show(r))
	}
}

func testInvalidTextSession(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Session(t, "news")
	c.Send(kit.Text("{\"id\":9,\"subscribe\":{\"channel\":\"\xff\"}}"))
	c.ExpectClose(int(wire.DisconnectInvalidPayload.Code))
	raw := n.Open(t, modes.PathRaw+"?channel=news")
	raw.Send(kit.Text("\xc0\x80"))
	raw.ExpectClose(int(wire.DisconnectInvalidPayload.Code))
	n.Settle(t)
}

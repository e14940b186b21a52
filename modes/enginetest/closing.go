package enginetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/wire"
)

var closeCases = []suiteCase{
	{"close/by the client", testCloseByClient},
	{"close/invalid", testCloseInvalid},
	{"close/nothing after", testNothingAfterClose},
	{"close/by the server", testCloseByServer},
	{"close/disconnect", testDisconnect},
	{"close/half-closed TCP", testHalfClosed},
}

func testCloseByClient(t *testing.T, build Build) {
	n := start(t, build, nil)
	ends := 0
	for _, path := range []string{modes.PathEcho, modes.PathCentrifuge, modes.PathRaw + "?channel=news"} {
		for _, f := range []frame{
			{op: ws.OpClose},
			closing(1000, ""), closing(1000, "bye"), closing(1000, strings.Repeat("x", 123)),
			closing(1001, "κόσμε"), closing(1002, ""), closing(1003, ""), closing(1007, ""), closing(1008, ""),
			closing(1009, ""), closing(1010, ""), closing(1011, ""), closing(1012, ""), closing(1013, ""),
			closing(1014, ""), closing(3000, ""), closing(3999, ""), closing(4000, ""), closing(4999, "x"),
		} {
			ends++
			t.Run(fmt.Sprintf("%s/%d %d", path, closeCode(f), len(f.body)), func(t *testing.T) {
				c := n.open(t, path)
				c.send(f)
				c.expect(frame{op: ws.OpClose, body: f.body[:min(2, len(f.body))]})
				c.expectCleanEnd()
			})
		}
	}
	n.settle(t)
	n.awaitDisconnects(t, modes.ReasonClientClosed, ends)
}

func testCloseInvalid(t *testing.T, build Build) {
	n := start(t, build, nil)
	for name, test := range map[string]struct {
		f    frame
		code uint16
	}{
		"body of 1 byte":      {frame{op: ws.OpClose, body: []byte{3}}, wire.DisconnectProtocol.Code},
		"body of 126":         {closing(1000, strings.Repeat("x", 124)), wire.DisconnectProtocol.Code},
		"bad UTF-8":           {closing(1000, "\xff"), wire.DisconnectInvalidPayload.Code},
		"cut UTF-8":           {closing(1000, "\xe2\x82"), wire.DisconnectInvalidPayload.Code},
		"code 0":              {closing(0, ""), wire.DisconnectProtocol.Code},
		"code 999":            {closing(999, ""), wire.DisconnectProtocol.Code},
		"code 1004":           {closing(1004, ""), wire.DisconnectProtocol.Code},
		"code 1005":           {closing(1005, ""), wire.DisconnectProtocol.Code},
		"code 1006":           {closing(1006, ""), wire.DisconnectProtocol.Code},
		"code 1015":           {closing(1015, ""), wire.DisconnectProtocol.Code},
		"code 1016":           {closing(1016, ""), wire.DisconnectProtocol.Code},
		"code 1100":           {closing(1100, ""), wire.DisconnectProtocol.Code},
		"code 2000":           {closing(2000, "x"), wire.DisconnectProtocol.Code},
		"code 2999":           {closing(2999, "x"), wire.DisconnectProtocol.Code},
		"code 5000":           {closing(5000, ""), wire.DisconnectProtocol.Code},
		"code 65535":          {closing(65535, ""), wire.DisconnectProtocol.Code},
		"bad code and reason": {closing(1005, "\xff"), wire.DisconnectProtocol.Code},
	} {
		t.Run(name, func(t *testing.T) {
			c := n.open(t, modes.PathEcho)
			c.send(test.f)
			c.expectClose(int(test.code))
		})
	}
}

// What follows a close frame is not looked at.
func testNothingAfterClose(t *testing.T, build Build) {
	n := start(t, build, nil)
	for name, after := range map[string][]frame{
		"text":         {text("late")},
		"ping":         {{op: ws.OpPing}},
		"second close": {closing(1001, "")},
		"violation":    {{op: 3, rsv: 0x70}},
	} {
		t.Run(name, func(t *testing.T) {
			c := n.open(t, modes.PathEcho)
			c.send(append([]frame{text("before"), closing(1000, "")}, after...)...)
			c.expect(text("before"))
			c.expect(closing(1000, ""))
			c.expectEnd()
		})
	}
	t.Run("in a message", func(t *testing.T) {
		c := n.open(t, modes.PathEcho)
		c.send(frame{op: ws.OpText, body: []byte("begun"), more: true}, closing(1000, ""))
		c.expect(closing(1000, ""))
		c.expectCleanEnd()
	})
}

// The server that closes waits for the client's close frame, and not for ever.
func testCloseByServer(t *testing.T, build Build) {
	n := start(t, build, nil)
	t.Run("answered", func(t *testing.T) {
		t.Parallel()
		c := n.session(t, "news")
		c.send(text("no command"))
		c.expect(closing(wire.DisconnectBadRequest.Code, wire.DisconnectBadRequest.Reason))
		c.send(closing(wire.DisconnectBadRequest.Code, ""))
		c.expectCleanEnd()
	})
	t.Run("messages cross", func(t *testing.T) {
		t.Parallel()
		c := n.session(t, "news")
		c.send(text("no command"), text(`{"id":5,"ping":{}}`), frame{op: ws.OpPing, body: []byte("late")})
		c.expect(closing(wire.DisconnectBadRequest.Code, wire.DisconnectBadRequest.Reason))
		c.send(closing(wire.DisconnectBadRequest.Code, ""))
		c.expectCleanEnd()
	})
	t.Run("unanswered", func(t *testing.T) {
		t.Parallel()
		c := n.session(t, "news")
		c.send(text("no command"))
		c.expect(closing(wire.DisconnectBadRequest.Code, wire.DisconnectBadRequest.Reason))
		c.expectEnd()
	})
}

func testDisconnect(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.open(t, modes.PathCentrifuge)
	id := c.connect("news").Client
	other := n.session(t, "news")
	for _, stranger := range []string{"", "nobody", "00000000-0000-4000-8000-000000000000"} {
		if n.engine.Disconnect(stranger, wire.DisconnectForce) {
			t.Errorf("Disconnect(%q) found a connection", stranger)
		}
	}
	if !n.engine.Disconnect(id, wire.DisconnectForce) {
		t.Errorf("Disconnect(%q) found no connection", id)
	}
	c.expect(closing(wire.DisconnectForce.Code, wire.DisconnectForce.Reason))
	c.send(closing(wire.DisconnectForce.Code, ""))
	c.expectCleanEnd()
	n.awaitConnections(t, 1)
	n.awaitDisconnects(t, wire.DisconnectForce.Reason, 1)
	if n.engine.Disconnect(id, wire.DisconnectForce) {
		t.Errorf("Disconnect(%q) found a connection that has ended", id)
	}
	n.bus.publish("news", `"for the other"`)
	other.expectPush("news", `"for the other"`)
}

// A client that shuts down its side has sent what it wants to send; what it
// sent before counts.
func testHalfClosed(t *testing.T, build Build) {
	n := start(t, build, nil)
	t.Run("after messages", func(t *testing.T) {
		c := n.open(t, modes.PathEcho)
		c.send(text("one"), text("two"))
		if err := c.conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.expect(text("one"))
		c.expect(text("two"))
		c.expectEnd()
	})
	t.Run("after close", func(t *testing.T) {
		c := n.open(t, modes.PathEcho)
		c.send(text("one"), closing(1000, ""))
		if err := c.conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.expect(text("one"))
		c.expect(closing(1000, ""))
		c.expectCleanEnd()
	})
	n.settle(t)
	n.awaitDisconnects(t, modes.ReasonNoClose, 1)
}

package enginetest

import (
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var closeCases = []suiteCase{
	{"close/by the server", testCloseByServer},
	{"close/disconnect", testDisconnect},
	{"close/half-closed TCP", testHalfClosed},
}

// A server that closes waits for the client's close frame, for a limited time.
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

// A client that shuts down its side has sent everything; what it sent before counts.
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

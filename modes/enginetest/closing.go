package enginetest

import (
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var closeCases = []suiteCase{
	{"close/by the server", testCloseByServer},
	{"close/disconnect", testDisconnect},
	{"close/half-closed TCP", testHalfClosed},
}

// A server that closes waits for the client's close frame, for a limited time.
func testCloseByServer(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	t.Run("answered", func(t *testing.T) {
		t.Parallel()
		c := n.Session(t, "news")
		c.Send(kit.Text("no command"))
		c.Expect(kit.Closing(wire.DisconnectBadRequest.Code, wire.DisconnectBadRequest.Reason))
		c.Send(kit.Closing(wire.DisconnectBadRequest.Code, ""))
		c.ExpectCleanEnd()
	})
	t.Run("messages cross", func(t *testing.T) {
		t.Parallel()
		c := n.Session(t, "news")
		c.Send(kit.Text("no command"), kit.Text(`{"id":5,"ping":{}}`), kit.Frame{Op: ws.OpPing, Body: []byte("late")})
		c.Expect(kit.Closing(wire.DisconnectBadRequest.Code, wire.DisconnectBadRequest.Reason))
		c.Send(kit.Closing(wire.DisconnectBadRequest.Code, ""))
		c.ExpectCleanEnd()
	})
	t.Run("unanswered", func(t *testing.T) {
		t.Parallel()
		c := n.Session(t, "news")
		c.Send(kit.Text("no command"))
		c.Expect(kit.Closing(wire.DisconnectBadRequest.Code, wire.DisconnectBadRequest.Reason))
		c.ExpectEnd()
	})
}

func testDisconnect(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Open(t, modes.PathCentrifuge)
	id := c.Connect("news").Client
	other := n.Session(t, "news")
	for _, stranger := range []string{"", "nobody", "00000000-0000-4000-8000-000000000000"} {
		if n.Engine.Disconnect(stranger, wire.DisconnectForce) {
			t.Errorf("Disconnect(%q) found a connection", stranger)
		}
	}
	if !n.Engine.Disconnect(id, wire.DisconnectForce) {
		t.Errorf("Disconnect(%q) found no connection", id)
	}
	c.Expect(kit.Closing(wire.DisconnectForce.Code, wire.DisconnectForce.Reason))
	c.Send(kit.Closing(wire.DisconnectForce.Code, ""))
	c.ExpectCleanEnd()
	n.AwaitConnections(t, 1)
	n.AwaitDisconnects(t, wire.DisconnectForce.Reason, 1)
	if n.Engine.Disconnect(id, wire.DisconnectForce) {
		t.Errorf("Disconnect(%q) found a connection that has ended", id)
	}
	n.Bus.Send("news", `"for the other"`)
	other.ExpectPush("news", `"for the other"`)
}

// A client that shuts down its side has sent everything; what it sent before counts.
func testHalfClosed(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	t.Run("after messages", func(t *testing.T) {
		c := n.Open(t, modes.PathEcho)
		c.Send(kit.Text("one"), kit.Text("two"))
		if err := c.Conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.Expect(kit.Text("one"))
		c.Expect(kit.Text("two"))
		c.ExpectEnd()
	})
	t.Run("after close", func(t *testing.T) {
		c := n.Open(t, modes.PathEcho)
		c.Send(kit.Text("one"), kit.Closing(1000, ""))
		if err := c.Conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.Expect(kit.Text("one"))
		c.Expect(kit.Closing(1000, ""))
		c.ExpectCleanEnd()
	})
	n.Settle(t)
	n.AwaitDisconnects(t, modes.ReasonNoClose, 1)
}

package enginetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var drainCases = []suiteCase{
	{"drain/closes all", testDrain},
	{"drain/spread", testDrainSpread},
	{"drain/given up", testDrainGivenUp},
	{"drain/nobody there", testDrainEmpty},
	{"drain/in every state", testDrainStates},
	{"drain/silent connections", testDrainSilent},
	{"drain/clients that do not answer", testDrainMute},
	{"stop/in every state", testStop},
}

// expectRefused shows that the node takes no new connection.
func expectRefused(n *kit.Node, t kit.Tester) {
	t.Helper()
	c, err := n.TryDial(t)
	if err != nil {
		return
	}
	if err := c.TryWrite(kit.Upgrade(modes.PathEcho).Bytes()); err != nil {
		return
	}
	if r, _, err := c.TryResponse(); err == nil && r.StatusCode < 400 {
		t.Errorf("got %s from a node that drains", r.Status)
	}
}

func testDrain(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const many = 60
	clients := make([]*kit.Client, many)
	for i := range clients {
		switch i % 5 {
		case 0:
			clients[i] = n.Session(t, "news")
		case 1:
			clients[i] = n.Open(t, modes.PathRaw+"?channel=news")
		case 2:
			clients[i] = n.OpenStream(t, modes.PathSSE+"?channel=news")
		case 3:
			clients[i] = n.OpenStream(t, modes.PathStream+"?channel=news")
		default:
			clients[i] = n.Open(t, modes.PathEcho)
		}
	}
	wait := n.Drain(t.Context(), t, 200*time.Millisecond)
	kit.Together(t, many, func(t kit.Tester, i int) {
		c := clients[i]
		c.T = t
		if c.Protocol.OverHTTP() {
			c.ExpectStreamEnd(wire.DisconnectShutdown)
			c.Leave()
			return
		}
		c.Expect(kit.Closing(wire.DisconnectShutdown.Code, wire.DisconnectShutdown.Reason))
		c.Send(kit.Closing(wire.DisconnectShutdown.Code, ""))
		c.ExpectCleanEnd()
	})
	if err := wait(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	expectRefused(n, t)
	n.Settle(t)
	n.AwaitDisconnects(t, wire.DisconnectShutdown.Reason, many)
}

// Over a spread that does not end while the test runs, connections whose turn has not
// come are still served, and new ones are refused.
func testDrainSpread(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const many = 20
	clients := make([]*kit.Client, many)
	for i := range clients {
		clients[i] = n.Session(t, "news")
	}
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	wait := n.Drain(ctx, t, 24*time.Hour)
	kit.Await(t, "new connections to be refused", func() (bool, string) {
		c, err := n.TryDial(t)
		if err != nil {
			return true, ""
		}
		defer c.Leave()
		if err := c.TryWrite(kit.Upgrade(modes.PathEcho).Bytes()); err != nil {
			return true, ""
		}
		r, _, err := c.TryResponse()
		return err != nil || r.StatusCode >= 400, "accepted"
	})
	n.Bus.Send("news", "1")
	served, closed := 0, 0
	for _, c := range clients {
		f := c.Frame()
		switch {
		case f.Op == ws.OpText:
			served++
		case f.Op == ws.OpClose && kit.CloseCode(f) == int(wire.DisconnectShutdown.Code):
			closed++
		default:
			t.Fatalf("got frame op %#x %s", f.Op, kit.CloseText(f))
		}
	}
	if served < many-2 || served+closed != many {
		t.Errorf("%d clients of %d are served at the begin of a day of draining", served, many)
	}
	giveUp()
	if err := wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v, want %v", err, context.Canceled)
	}
	n.Settle(t)
}

// When the time for draining is over, Serve ends what is left.
func testDrainGivenUp(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	clients := []*kit.Client{n.Session(t, "news"), n.Session(t), n.Open(t, modes.PathEcho)}
	ctx, giveUp := context.WithCancel(t.Context())
	giveUp()
	if err := n.Drain(ctx, t, time.Hour)(); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v, want %v", err, context.Canceled)
	}
	for _, c := range clients {
		for {
			f, err := c.TryFrame()
			if err != nil {
				if !kit.Ended(err) {
					t.Errorf("the connection did not end: %v", err)
				}
				break
			}
			if f.Op != ws.OpClose || kit.CloseCode(f) != int(wire.DisconnectShutdown.Code) {
				t.Errorf("got frame op %#x %s", f.Op, kit.CloseText(f))
			}
		}
	}
	n.Settle(t)
}

func testDrainEmpty(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	n.Open(t, modes.PathEcho).Leave()
	n.AwaitConnections(t, 0)
	if err := n.Drain(t.Context(), t, time.Hour)(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	expectRefused(n, t)
}

// Browsers open connections in advance. An unsolicited answer would be taken for the
// answer to the next request, which may go to the node's successor.
func testDrainSilent(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const many = 8
	clients := make([]*kit.Client, many)
	for i := range clients {
		clients[i] = n.Dial(t)
	}
	wait := n.Drain(t.Context(), t, 0)
	for _, c := range clients {
		c.ExpectEnd()
	}
	if err := wait(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	n.Settle(t)
}

// inEveryState opens clients in all states that a connection can be in. The
// subscriptions to held wait for a confirmation.
func inEveryState(n *kit.Node, t *testing.T, held string) []*kit.Client {
	t.Helper()
	whole := kit.Upgrade(modes.PathCentrifuge).Bytes()
	partial := kit.Encode(kit.Text("cut off"))
	var clients []*kit.Client
	add := func(c *kit.Client, bytes []byte) *kit.Client {
		c.Write(bytes)
		clients = append(clients, c)
		return c
	}
	add(n.Dial(t), nil)
	add(n.Dial(t), whole[:len(whole)/2])
	add(n.Open(t, modes.PathCentrifuge), nil)
	add(n.Open(t, modes.PathCentrifuge), partial[:1])
	add(n.Session(t, "news"), partial[:len(partial)-3])
	add(n.Open(t, modes.PathEcho), kit.Encode(kit.Frame{Op: ws.OpText, Body: []byte("more"), More: true}))
	add(n.Session(t, "news"), nil)
	add(n.Open(t, modes.PathRaw+"?channel=news"), nil)
	add(n.OpenStream(t, modes.PathSSE+"?channel=news"), nil)
	add(n.OpenStream(t, modes.PathStream+"?channel=news"), []byte("more"))
	add(n.Dial(t), kit.Plain("GET", "").Bytes()).ExpectPlain("GET", "", "")
	if held != "" {
		add(n.Session(t, "news"), kit.Encode(kit.Text(`{"id":90,"subscribe":{"channel":"`+held+`"}}`)))
		add(n.Open(t, modes.PathCentrifuge), kit.Encode(kit.Text(`{"id":1,"connect":{"subs":{"news":{},"`+held+`":{}}}}`)))
		add(n.Dial(t), kit.Upgrade(modes.PathRaw+"?channel=news&channel="+held).Bytes())
		add(n.Dial(t), kit.Get(modes.PathSSE+"?channel=news&channel="+held).Bytes())
		n.Bus.AwaitWaiting(t, held)
	}
	return clients
}

func testDrainStates(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Limits.HandshakeTimeout = kit.ShortTimeout
		s.SubscribeTimeout = kit.ShortTimeout
	})
	release := n.Bus.Hold("held")
	defer release(nil)
	clients := inEveryState(n, t, "held")
	wait := n.Drain(t.Context(), t, 0)
	for _, c := range clients {
		expectSomeEnd(c)
	}
	if err := wait(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	n.Settle(t)
}

// expectSomeEnd reads whatever comes until the connection ends, and answers a
// close frame.
func expectSomeEnd(c *kit.Client) {
	c.T.Helper()
	for {
		b, err := c.ReadByte()
		if err != nil {
			if !kit.Ended(err) {
				c.T.Fatalf("the connection did not end: %v", err)
			}
			return
		}
		if b == 0x80|byte(ws.OpClose) {
			_ = c.TryWrite(kit.Encode(kit.Closing(1000, "")))
		}
	}
}

// The drain waits no longer than CloseWait for a client to answer the close frame.
func testDrainMute(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for range 5 {
		n.Session(t, "news")
	}
	if err := n.Drain(t.Context(), t, 0)(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	n.Settle(t)
}

// Serve ends everything when its context does, whatever is going on.
func testStop(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	release := n.Bus.Hold("held")
	clients := inEveryState(n, t, "held")
	n.Stop()
	n.AwaitServed(t)
	for _, c := range clients {
		expectSomeEnd(c)
	}
	// A confirmation that comes after the end must be given back.
	release(nil)
	n.Settle(t)
	expectRefused(n, t)
}

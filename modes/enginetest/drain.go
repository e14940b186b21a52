package enginetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
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

// drain drains n in the background; what it returns waits for it, and for Serve.
func (n *node) drain(ctx context.Context, t *testing.T, spread time.Duration) (wait func() error) {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- n.engine.Drain(ctx, spread) }()
	return func() error {
		t.Helper()
		select {
		case err := <-result:
			n.awaitServed(t)
			return err
		case <-time.After(patience):
			t.Fatalf("Drain did not return")
			return nil
		}
	}
}

// expectRefused shows that the node takes no new connection.
func (n *node) expectRefused(t tester) {
	t.Helper()
	c, err := n.tryDial(t)
	if err != nil {
		return
	}
	if err := c.tryWrite(upgrade(modes.PathEcho).bytes()); err != nil {
		return
	}
	if r, _, err := c.tryResponse(); err == nil && r.StatusCode < 400 {
		t.Errorf("got %s from a node that drains", r.Status)
	}
}

func testDrain(t *testing.T, build Build) {
	n := start(t, build, nil)
	const many = 60
	clients := make([]*client, many)
	for i := range clients {
		switch i % 5 {
		case 0:
			clients[i] = n.session(t, "news")
		case 1:
			clients[i] = n.open(t, modes.PathRaw+"?channel=news")
		case 2:
			clients[i] = n.openStream(t, modes.PathSSE+"?channel=news")
		case 3:
			clients[i] = n.openStream(t, modes.PathStream+"?channel=news")
		default:
			clients[i] = n.open(t, modes.PathEcho)
		}
	}
	wait := n.drain(t.Context(), t, 200*time.Millisecond)
	together(t, many, func(t tester, i int) {
		c := clients[i]
		c.t = t
		if c.protocol.OverHTTP() {
			c.expectStreamEnd(wire.DisconnectShutdown)
			c.leave()
			return
		}
		c.expect(closing(wire.DisconnectShutdown.Code, wire.DisconnectShutdown.Reason))
		c.send(closing(wire.DisconnectShutdown.Code, ""))
		c.expectCleanEnd()
	})
	if err := wait(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	n.expectRefused(t)
	n.settle(t)
	n.awaitDisconnects(t, wire.DisconnectShutdown.Reason, many)
}

// Over a spread that does not end while the test runs, connections whose turn has not
// come are still served, and new ones are refused.
func testDrainSpread(t *testing.T, build Build) {
	n := start(t, build, nil)
	const many = 20
	clients := make([]*client, many)
	for i := range clients {
		clients[i] = n.session(t, "news")
	}
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	wait := n.drain(ctx, t, 24*time.Hour)
	await(t, "new connections to be refused", func() (bool, string) {
		c, err := n.tryDial(t)
		if err != nil {
			return true, ""
		}
		defer c.leave()
		if err := c.tryWrite(upgrade(modes.PathEcho).bytes()); err != nil {
			return true, ""
		}
		r, _, err := c.tryResponse()
		return err != nil || r.StatusCode >= 400, "accepted"
	})
	n.bus.publish("news", "1")
	served, closed := 0, 0
	for _, c := range clients {
		f := c.frame()
		switch {
		case f.op == ws.OpText:
			served++
		case f.op == ws.OpClose && closeCode(f) == int(wire.DisconnectShutdown.Code):
			closed++
		default:
			t.Fatalf("got frame op %#x %s", f.op, closeText(f))
		}
	}
	if served < many-2 || served+closed != many {
		t.Errorf("%d clients of %d are served at the begin of a day of draining", served, many)
	}
	giveUp()
	if err := wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v, want %v", err, context.Canceled)
	}
	n.settle(t)
}

// When the time for draining is over, Serve ends what is left.
func testDrainGivenUp(t *testing.T, build Build) {
	n := start(t, build, nil)
	clients := []*client{n.session(t, "news"), n.session(t), n.open(t, modes.PathEcho)}
	ctx, giveUp := context.WithCancel(t.Context())
	giveUp()
	if err := n.drain(ctx, t, time.Hour)(); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v, want %v", err, context.Canceled)
	}
	for _, c := range clients {
		for {
			f, err := c.tryFrame()
			if err != nil {
				if !ended(err) {
					t.Errorf("the connection did not end: %v", err)
				}
				break
			}
			if f.op != ws.OpClose || closeCode(f) != int(wire.DisconnectShutdown.Code) {
				t.Errorf("got frame op %#x %s", f.op, closeText(f))
			}
		}
	}
	n.settle(t)
}

func testDrainEmpty(t *testing.T, build Build) {
	n := start(t, build, nil)
	n.open(t, modes.PathEcho).leave()
	n.awaitConnections(t, 0)
	if err := n.drain(t.Context(), t, time.Hour)(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	n.expectRefused(t)
}

// Browsers open connections in advance. An unsolicited answer would be taken for the
// answer to the next request, which may go to the node's successor.
func testDrainSilent(t *testing.T, build Build) {
	n := start(t, build, nil)
	const many = 8
	clients := make([]*client, many)
	for i := range clients {
		clients[i] = n.dial(t)
	}
	wait := n.drain(t.Context(), t, 0)
	for _, c := range clients {
		c.expectEnd()
	}
	if err := wait(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	n.settle(t)
}

// inEveryState opens clients in all states that a connection can be in. The
// subscriptions to held wait for a confirmation.
func (n *node) inEveryState(t *testing.T, held string) []*client {
	t.Helper()
	whole := upgrade(modes.PathCentrifuge).bytes()
	partial := encode(text("cut off"))
	var clients []*client
	add := func(c *client, bytes []byte) *client {
		c.write(bytes)
		clients = append(clients, c)
		return c
	}
	add(n.dial(t), nil)
	add(n.dial(t), whole[:len(whole)/2])
	add(n.open(t, modes.PathCentrifuge), nil)
	add(n.open(t, modes.PathCentrifuge), partial[:1])
	add(n.session(t, "news"), partial[:len(partial)-3])
	add(n.open(t, modes.PathEcho), encode(frame{op: ws.OpText, body: []byte("more"), more: true}))
	add(n.session(t, "news"), nil)
	add(n.open(t, modes.PathRaw+"?channel=news"), nil)
	add(n.openStream(t, modes.PathSSE+"?channel=news"), nil)
	add(n.openStream(t, modes.PathStream+"?channel=news"), []byte("more"))
	add(n.dial(t), plain("GET", "").bytes()).expectPlain("GET", "", "")
	if held != "" {
		add(n.session(t, "news"), encode(text(`{"id":90,"subscribe":{"channel":"`+held+`"}}`)))
		add(n.open(t, modes.PathCentrifuge), encode(text(`{"id":1,"connect":{"subs":{"news":{},"`+held+`":{}}}}`)))
		add(n.dial(t), upgrade(modes.PathRaw+"?channel=news&channel="+held).bytes())
		add(n.dial(t), get(modes.PathSSE+"?channel=news&channel="+held).bytes())
		n.bus.awaitWaiting(t, held)
	}
	return clients
}

func testDrainStates(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.limits.HandshakeTimeout = shortTimeout
		s.subscribeTimeout = shortTimeout
	})
	release := n.bus.hold("held")
	defer release(nil)
	clients := n.inEveryState(t, "held")
	wait := n.drain(t.Context(), t, 0)
	for _, c := range clients {
		c.expectSomeEnd()
	}
	if err := wait(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	n.settle(t)
}

// expectSomeEnd reads whatever comes until the connection ends, and answers a
// close frame.
func (c *client) expectSomeEnd() {
	c.t.Helper()
	for {
		b, err := c.readByte()
		if err != nil {
			if !ended(err) {
				c.t.Fatalf("the connection did not end: %v", err)
			}
			return
		}
		if b == 0x80|byte(ws.OpClose) {
			_ = c.tryWrite(encode(closing(1000, "")))
		}
	}
}

// The drain waits no longer than CloseWait for a client to answer the close frame.
func testDrainMute(t *testing.T, build Build) {
	n := start(t, build, nil)
	for range 5 {
		n.session(t, "news")
	}
	if err := n.drain(t.Context(), t, 0)(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	n.settle(t)
}

// Serve ends everything when its context does, whatever is going on.
func testStop(t *testing.T, build Build) {
	n := start(t, build, nil)
	release := n.bus.hold("held")
	clients := n.inEveryState(t, "held")
	n.stop()
	n.awaitServed(t)
	for _, c := range clients {
		c.expectSomeEnd()
	}
	// A confirmation that comes after the end must be given back.
	release(nil)
	n.settle(t)
	n.expectRefused(t)
}

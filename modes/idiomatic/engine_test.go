package idiomatic

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func TestSubscribeAndDeliver(t *testing.T) {
	n := start(t)
	c := n.connect(t)
	c.write(`{"id":2,"subscribe":{"channel":"news"}}`)
	c.expect(`{"id":2,"subscribe":{}}`)
	n.Deliver(modes.Publication{Channel: []byte("news"), Data: []byte(`{"a":1}`)})
	n.Deliver(modes.Publication{Channel: []byte("other"), Data: []byte(`{"a":2}`)})
	n.Deliver(modes.Publication{Channel: []byte("news"), Data: []byte(`{"a":3}`)})
	c.expect(`{"push":{"channel":"news","pub":{"data":{"a":1}}}}`, `{"push":{"channel":"news","pub":{"data":{"a":3}}}}`)
	c.write(`{"id":3,"unsubscribe":{"channel":"news"}}`)
	c.expect(`{"id":3,"unsubscribe":{}}`)
	n.Deliver(modes.Publication{Channel: []byte("news"), Data: []byte(`{"a":4}`)})
	c.write(`{"id":4,"publish":{"channel":"news","data":5}}`)
	c.expect(`{"id":4,"publish":{}}`)
	if held := n.bus.held("news"); held != 0 {
		t.Errorf("%d references are held after unsubscribe", held)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	n.disconnected(t, modes.ReasonNoClose)
}

func TestRawReceivesPayloadsOnly(t *testing.T) {
	n := start(t)
	c := n.dial(t, modes.PathRaw+"?channel=a&channel=b&channel=a")
	c.write("dropped")
	n.Deliver(modes.Publication{Channel: []byte("a"), Data: []byte("one")})
	n.Deliver(modes.Publication{Channel: []byte("b"), Data: []byte("two")})
	c.expect("one", "two")
	if a, b := n.bus.held("a"), n.bus.held("b"); a != 1 || b != 1 {
		t.Errorf("%d and %d references are held, want one each", a, b)
	}
	n.Lost([]string{"a"})
	n.Deliver(modes.Publication{Channel: []byte("a"), Data: []byte("three")})
	c.expect("three")
}

func TestEcho(t *testing.T) {
	n := start(t)
	c := n.dial(t, modes.PathEcho)
	long := strings.Repeat("é", 30<<10)
	c.write(long)
	c.expect(long)
	_ = c.WriteControl(8, []byte{3, 232}, time.Now().Add(patience))
	c.expectClose(1000)
	n.disconnected(t, modes.ReasonClientClosed)
}

func TestDisconnectByClientID(t *testing.T) {
	n := start(t)
	c := n.dial(t, modes.PathCentrifuge)
	c.write(`{"id":1,"connect":{}}`)
	_, rest, _ := strings.Cut(c.read(), `"client":"`)
	id, _, _ := strings.Cut(rest, `"`)
	if n.Disconnect("00000000-0000-4000-8000-000000000000", wire.DisconnectForce) {
		t.Error("disconnected a client that does not exist")
	}
	if !n.Disconnect(id, wire.DisconnectForce) {
		t.Fatalf("no client %q", id)
	}
	c.expectClose(3503)
	n.disconnected(t, wire.DisconnectForce.Reason)
}

func TestLost(t *testing.T) {
	n := start(t)
	c := n.connect(t)
	c.write(`{"id":2,"subscribe":{"channel":"news"}}` + "\n" + `{"id":3,"subscribe":{"channel":"fine"}}`)
	c.read()
	c.read()
	n.Lost([]string{"news", "nobody's"})
	c.expect(`{"push":{"channel":"news","unsubscribe":{"code":2500,"reason":"insufficient state"}}}`)
	n.Deliver(modes.Publication{Channel: []byte("news"), Data: []byte("1")})
	n.Deliver(modes.Publication{Channel: []byte("fine"), Data: []byte("2")})
	c.expect(`{"push":{"channel":"fine","pub":{"data":2}}}`)
	eventually(t, "reference given back", func() bool { return n.bus.held("news") == 0 })
	c.write(`{"id":4,"subscribe":{"channel":"news"}}`)
	c.expect(`{"id":4,"subscribe":{}}`)
	n.Deliver(modes.Publication{Channel: []byte("news"), Data: []byte("3")})
	c.expect(`{"push":{"channel":"news","pub":{"data":3}}}`)
}

func TestDrain(t *testing.T) {
	n := start(t)
	clients := []*client{n.connect(t), n.connect(t), n.dial(t, modes.PathRaw+"?channel=a")}
	drained := make(chan error, 1)
	go func() { drained <- n.Drain(t.Context(), 10*time.Millisecond) }()
	for _, c := range clients {
		c.expectClose(3001)
		_ = c.Close()
	}
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	n.expectNothingLeft(t)
}

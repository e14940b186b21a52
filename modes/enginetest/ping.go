package enginetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var pingCases = []suiteCase{
	{"ping/answered", testPingAnswered},
	{"ping/announced", testPingAnnounced},
	{"ping/unanswered", testPingUnanswered},
	{"ping/session not connected", testPingNotConnected},
}

// relaxedPings leaves clients of this suite ample time to answer.
func relaxedPings(s *setup) {
	s.limits.PingInterval, s.limits.PongTimeout = shortTimeout, shortTimeout-time.Millisecond
}

// Clients that answer stay, ping after ping.
func testPingAnswered(t *testing.T, build Build) {
	n := start(t, build, relaxedPings)
	for name, open := range map[string]func(t tester) *client{
		"json": func(t tester) *client { return n.session(t, "news") },
		"protobuf": func(t tester) *client {
			c := n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
			c.connect("news")
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			for c.pings < 2 {
				c.read()
			}
			c.roundTrip()
		})
	}
	for _, path := range []string{modes.PathRaw + "?channel=news", modes.PathEcho} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			c := n.open(t, path)
			for range 2 {
				f := c.frame()
				if f.op != ws.OpPing {
					t.Fatalf("got frame op %#x %s, want a ping", f.op, closeText(f))
				}
				c.send(frame{op: ws.OpPong, body: f.body})
			}
		})
	}
}

func testPingAnnounced(t *testing.T, build Build) {
	for interval, seconds := range map[time.Duration]uint32{25 * time.Second: 25, 1500 * time.Millisecond: 2, 500 * time.Millisecond: 1} {
		t.Run(fmt.Sprint(interval), func(t *testing.T) {
			n := start(t, build, func(s *setup) { s.limits.PingInterval, s.limits.PongTimeout = interval, interval/2 })
			if r := n.open(t, modes.PathCentrifuge).connect(); r.Ping != seconds || !r.Pong {
				t.Errorf("connect: got ping %d, pong %t, want %d, true", r.Ping, r.Pong, seconds)
			}
		})
	}
}

// A client that does not answer is cut, whatever else it does.
func testPingUnanswered(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.limits.PingInterval, s.limits.PongTimeout = 100*time.Millisecond, 90*time.Millisecond
	})
	for name, open := range map[string]func(t tester) *client{
		"json": func(t tester) *client { return n.session(t, "news") },
		"protobuf": func(t tester) *client {
			c := n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
			c.mute = true
			c.connect("news")
			return c
		},
		"raw":  func(t tester) *client { return n.open(t, modes.PathRaw+"?channel=news") },
		"echo": func(t tester) *client { return n.open(t, modes.PathEcho) },
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			for {
				f := c.frame()
				if f.op == ws.OpClose {
					c.finish(int(wire.DisconnectNoPong.Code), f)
					break
				}
				if p := wire.PingFrame(c.protocol); f.op != p.OpCode() || string(f.body) != string(p.Payload()) {
					t.Fatalf("got frame op %#x %s, want a ping", f.op, brief(f.body))
				}
			}
		})
	}
	n.settle(t)
	n.awaitDisconnects(t, wire.DisconnectNoPong.Reason, 4)
}

// A session is pinged only after its connect command is answered: before, the client
// cannot recognize a ping.
func testPingNotConnected(t *testing.T, build Build) {
	n := start(t, build, relaxedPings)
	release := n.bus.hold("held")
	early, pending, other := n.open(t, modes.PathCentrifuge), n.open(t, modes.PathCentrifuge), n.session(t)
	pending.send(text(`{"id":1,"connect":{"subs":{"held":{}}}}`))
	n.bus.awaitWaiting(t, "held")
	for other.pings < 2 {
		other.read()
	}
	release(nil)
	early.send(text(`{"id":1,"connect":{}}`))
	for name, c := range map[string]*client{"early": early, "pending": pending} {
		r := c.next()
		if r.Connect == nil || c.pings != 0 {
			t.Errorf("%s: got %d pings and %s, want the connect reply first", name, c.pings, show(r))
		}
	}
	for _, c := range []*client{early, pending} {
		for c.pings < 1 {
			c.read()
		}
	}
}

package enginetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var pingCases = []suiteCase{
	{"ping/answered", testPingAnswered},
	{"ping/announced", testPingAnnounced},
	{"ping/unanswered", testPingUnanswered},
	{"ping/session not connected", testPingNotConnected},
}

// relaxedPings leaves clients of this suite ample time to answer.
func relaxedPings(s *kit.Setup) {
	s.Limits.PingInterval, s.Limits.PongTimeout = kit.ShortTimeout, kit.ShortTimeout-time.Millisecond
}

// Clients that answer stay, ping after ping.
func testPingAnswered(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, relaxedPings)
	for name, open := range map[string]func(t kit.Tester) *kit.Client{
		"json": func(t kit.Tester) *kit.Client { return n.Session(t, "news") },
		"protobuf": func(t kit.Tester) *kit.Client {
			c := n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
			c.Connect("news")
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			for c.Pings < 2 {
				c.Read()
			}
			c.RoundTrip()
		})
	}
	for _, path := range []string{modes.PathRaw + "?channel=news", modes.PathEcho} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			c := n.Open(t, path)
			for range 2 {
				f := c.Frame()
				if f.Op != ws.OpPing {
					t.Fatalf("got frame op %#x %s, want a ping", f.Op, kit.CloseText(f))
				}
				c.Send(kit.Frame{Op: ws.OpPong, Body: f.Body})
			}
		})
	}
}

func testPingAnnounced(t *testing.T, build kit.Build) {
	for interval, seconds := range map[time.Duration]uint32{25 * time.Second: 25, 1500 * time.Millisecond: 2, 500 * time.Millisecond: 1} {
		t.Run(fmt.Sprint(interval), func(t *testing.T) {
			n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.PingInterval, s.Limits.PongTimeout = interval, interval/2 })
			if r := n.Open(t, modes.PathCentrifuge).Connect(); r.Ping != seconds || !r.Pong {
				t.Errorf("connect: got ping %d, pong %t, want %d, true", r.Ping, r.Pong, seconds)
			}
		})
	}
}

// A client that does not answer is cut, whatever else it does.
func testPingUnanswered(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Limits.PingInterval, s.Limits.PongTimeout = 100*time.Millisecond, 90*time.Millisecond
	})
	for name, open := range map[string]func(t kit.Tester) *kit.Client{
		"json": func(t kit.Tester) *kit.Client { return n.Session(t, "news") },
		"protobuf": func(t kit.Tester) *kit.Client {
			c := n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
			c.Mute = true
			c.Connect("news")
			return c
		},
		"raw":  func(t kit.Tester) *kit.Client { return n.Open(t, modes.PathRaw+"?channel=news") },
		"echo": func(t kit.Tester) *kit.Client { return n.Open(t, modes.PathEcho) },
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			for {
				f := c.Frame()
				if f.Op == ws.OpClose {
					c.Finish(int(wire.DisconnectNoPong.Code), f)
					break
				}
				if p := wire.PingFrame(c.Protocol); f.Op != p.OpCode() || string(f.Body) != string(p.Payload()) {
					t.Fatalf("got frame op %#x %s, want a ping", f.Op, kit.Brief(f.Body))
				}
			}
		})
	}
	n.Settle(t)
	n.AwaitDisconnects(t, wire.DisconnectNoPong.Reason, 4)
}

// A session is pinged only after its connect command is answered: before, the client
// cannot recognize a ping.
func testPingNotConnected(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, relaxedPings)
	release := n.Bus.Hold("held")
	early, pending, other := n.Open(t, modes.PathCentrifuge), n.Open(t, modes.PathCentrifuge), n.Session(t)
	pending.Send(kit.Text(`{"id":1,"connect":{"subs":{"held":{}}}}`))
	n.Bus.AwaitWaiting(t, "held")
	for other.Pings < 2 {
		other.Read()
	}
	release(nil)
	early.Send(kit.Text(`{"id":1,"connect":{}}`))
	for name, c := range map[string]*kit.Client{"early": early, "pending": pending} {
		r := c.Next()
		if r.Connect == nil || c.Pings != 0 {
			t.Errorf("%s: got %d pings and %s, want the connect reply first", name, c.Pings, kit.Show(r))
		}
	}
	for _, c := range []*kit.Client{early, pending} {
		for c.Pings < 1 {
			c.Read()
		}
	}
}

package enginetest

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var gapCases = []suiteCase{
	{"gap/subscriptions end and come back", testGap},
	{"gap/paced", testGapPaced},
	{"gap/new subscriptions are spared", testGapSpares},
	{"gap/raw connections", testGapRaw},
	{"gap/server-side subscriptions", testGapServerSide},
	{"gap/streams over HTTP", testGapStreams},
	{"gap/clients leave meanwhile", testGapLeave},
}

// While publications never stop, every subscription ends with the notice, after
// which nothing comes until the client has subscribed again; from then on there
// is not a gap.
func testGap(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const clients, rounds = 20, 5
	channels := []string{"a", "b"}
	publishers := []*kit.Publisher{n.PublishAlways(t, "a"), n.PublishAlways(t, "b")}
	readers := make([]*kit.Client, clients)
	for i := range readers {
		if readers[i] = n.Subscribed(t, channels[i%2]); i%4 == 3 {
			readers[i] = n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
			readers[i].Connect()
			readers[i].Subscribe(channels[i%2])
		}
	}
	for range rounds {
		n.Bus.Lost("a", "b", "nobody's")
		kit.Together(t, clients, func(t kit.Tester, i int) {
			c := readers[i]
			c.T = t
			channel := channels[i%2]
			c.ExpectGap(channel)
			id := c.Post(subscribeTo(channel))
			if r := c.Next(); r.Id != id || r.Subscribe == nil {
				t.Fatalf("got %s, want the subscribe reply and nothing before", kit.Show(r))
			}
			c.ExpectContiguous(channel, publishers[i%2].Next.Load(), 10)
		})
	}
	for _, p := range publishers {
		p.Stop()
	}
	if got := n.Stats.Subscriptions.Load(); got != clients {
		t.Errorf("%d subscriptions are counted, want %d", got, clients)
	}
}

// A node that loses many subscriptions ends them one after the other; those
// whose turn has not come receive as before.
func testGapPaced(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.GapRate = 1 })
	const many = 100
	clients := make([]*kit.Client, many)
	for i := range clients {
		clients[i] = n.Subscribed(t, "news")
	}
	n.Bus.Lost("news")
	kit.Await(t, "a subscription to end", func() (bool, string) {
		got := n.Stats.Subscriptions.Load()
		return got < many, fmt.Sprint(got)
	})
	n.Bus.Send("news", `"after the loss"`)
	received, ended := 0, 0
	for _, c := range clients {
		if r := c.Next(); r.GetPush().GetPub() != nil {
			received++
		} else if r.GetPush().GetUnsubscribe() != nil {
			ended++
		}
	}
	if ended == 0 || received == 0 || ended+received != many {
		t.Errorf("%d subscriptions ended and %d received, of %d, want some of each", ended, received, many)
	}
}

// A client that subscribes after the loss has missed nothing and gets no notice.
func testGapSpares(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	old := n.Subscribed(t, "news")
	n.Bus.Lost("news")
	old.ExpectGap("news")
	fresh := n.Subscribed(t, "news", "other")
	old.Subscribe("news")
	n.Bus.Lost("other")
	fresh.ExpectGap("other")
	for _, c := range []*kit.Client{old, fresh} {
		n.Bus.Send("news", "1")
		c.ExpectPush("news", "1")
		if c == old {
			fresh.ExpectPush("news", "1")
		} else {
			old.ExpectPush("news", "1")
		}
	}
	// A connection without channels gets no notice.
	n.Bus.Lost("nobody's")
	n.Session(t).RoundTrip()
}

// The raw protocol has no word for a gap; its connections receive on.
func testGapRaw(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	raw := n.Open(t, modes.PathRaw+"?channel=news")
	session := n.Subscribed(t, "news")
	n.Bus.Send("news", "1")
	raw.Expect(kit.Text("1"))
	session.ExpectPush("news", "1")
	n.Bus.Lost("news")
	session.ExpectGap("news")
	n.Bus.Send("news", "2")
	raw.Expect(kit.Text("2"))
}

// SDKs do not subscribe again to channels that came with their connect command.
// Such a connection ends, with a code on which they come back and bring the
// channels along; subscriptions of its own on other channels change nothing.
func testGapServerSide(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c, other := n.Session(t, "server", "both"), n.Subscribed(t, "server", "own")
	c.Subscribe("own")
	n.Bus.Lost("own")
	c.ExpectGap("own")
	other.ExpectGap("own")
	c.Subscribe("own")
	// A subscription that the client has ended and made again is its own.
	c.Unsubscribe("both")
	c.Subscribe("both")
	n.Bus.Lost("both")
	c.ExpectGap("both")
	n.Bus.Send("server", "1")
	c.ExpectPush("server", "1")
	other.ExpectPush("server", "1")

	n.Bus.Lost("server")
	c.ExpectClose(int(wire.DisconnectInsufficient.Code))
	other.ExpectGap("server")
	n.AwaitDisconnects(t, wire.DisconnectInsufficient.Reason, 1)
	back := n.Open(t, modes.PathCentrifuge)
	if r := back.Connect("server"); !r.Subs["server"].Recoverable || r.Subs["server"].Recovered {
		t.Errorf("connect: got %+v, want a subscription that is recoverable, so that SDKs ask for it again, and not recovered", r)
	}
	n.Bus.Send("server", "2")
	back.ExpectPush("server", "2")
	if got := n.Stats.Gaps.Load(); got != 5 {
		t.Errorf("%d gaps are counted, want 5", got)
	}
}

// An event tells of a gap, after which publications go on: to end the stream would
// lose more of them. A line cannot tell.
func testGapStreams(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	sse := n.OpenStream(t, modes.PathSSE+"?channel=news&channel=other")
	stream := n.OpenStream(t, modes.PathStream+"?channel=news")
	session := n.Subscribed(t, "news")
	for _, round := range []string{"1", "2"} {
		n.Bus.Send("news", round)
		sse.ExpectEvent(round)
		stream.ExpectEvent(round)
		session.ExpectPush("news", round)
		n.Bus.Lost("news", "nobody's")
		if got := sse.Event(); got != (kit.Event{Name: "gap", Data: "news"}) {
			t.Fatalf("got %q, want an event gap, news", got)
		}
		session.ExpectGap("news")
		n.Bus.Send("news", "after "+round)
		sse.ExpectEvent("after " + round)
		stream.ExpectEvent(strconv.Quote("after " + round))
		session.Subscribe("news")
	}
	// A client that comes after the loss has missed nothing.
	fresh := n.OpenStream(t, modes.PathSSE+"?channel=news&channel=other")
	n.Bus.Lost("other")
	for _, c := range []*kit.Client{sse, fresh} {
		if got := c.Event(); got != (kit.Event{Name: "gap", Data: "other"}) {
			t.Fatalf("got %q, want an event gap, other, and nothing before", got)
		}
	}
}

func testGapLeave(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.GapRate = 50 })
	const many = 100
	clients := make([]*kit.Client, many)
	for i := range clients {
		clients[i] = n.Subscribed(t, "news", "other")
	}
	n.Bus.Lost("news", "other")
	for i, c := range clients {
		switch i % 3 {
		case 0:
			c.Reset()
		case 1:
			c.Post(unsubscribeFrom("news"))
		default:
			c.Call(&protocol.Command{Ping: &protocol.PingRequest{}})
		}
	}
	for _, c := range clients {
		c.Leave()
	}
	n.Settle(t)
}

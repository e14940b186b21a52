package enginetest

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
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

// expectGap takes publications to channel up to the notice that messages may
// have been missed.
func (c *client) expectGap(channel string) {
	c.t.Helper()
	for {
		r := c.next()
		if r.GetPush().GetChannel() != channel {
			c.t.Fatalf("got %s, want a push to %q", show(r), channel)
		}
		u := r.Push.Unsubscribe
		if u == nil {
			continue
		}
		if want := wire.UnsubscribeInsufficient; u.Code != want.Code || u.Reason != want.Reason {
			c.t.Fatalf("got %s, want %v", show(r), want)
		}
		return
	}
}

// While publications never stop, every subscription ends with the notice, after
// which nothing comes until the client has subscribed again; from then on there
// is not a gap.
func testGap(t *testing.T, build Build) {
	n := start(t, build, nil)
	const clients, rounds = 20, 5
	channels := []string{"a", "b"}
	publishers := []*publisher{n.publishAlways(t, "a"), n.publishAlways(t, "b")}
	readers := make([]*client, clients)
	for i := range readers {
		if readers[i] = n.subscribed(t, channels[i%2]); i%4 == 3 {
			readers[i] = n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
			readers[i].connect()
			readers[i].subscribe(channels[i%2])
		}
	}
	for range rounds {
		n.bus.lost("a", "b", "nobody's")
		together(t, clients, func(t tester, i int) {
			c := readers[i]
			c.t = t
			channel := channels[i%2]
			c.expectGap(channel)
			id := c.post(subscribeTo(channel))
			if r := c.next(); r.Id != id || r.Subscribe == nil {
				t.Fatalf("got %s, want the subscribe reply and nothing before", show(r))
			}
			c.expectContiguous(channel, publishers[i%2].next.Load(), 10)
		})
	}
	for _, p := range publishers {
		p.stop()
	}
	if got := n.stats.Subscriptions.Load(); got != clients {
		t.Errorf("%d subscriptions are counted, want %d", got, clients)
	}
}

// A node that loses many subscriptions ends them one after the other; those
// whose turn has not come receive as before.
func testGapPaced(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.GapRate = 1 })
	const many = 100
	clients := make([]*client, many)
	for i := range clients {
		clients[i] = n.subscribed(t, "news")
	}
	n.bus.lost("news")
	await(t, "a subscription to end", func() (bool, string) {
		got := n.stats.Subscriptions.Load()
		return got < many, fmt.Sprint(got)
	})
	n.bus.publish("news", `"after the loss"`)
	received, ended := 0, 0
	for _, c := range clients {
		if r := c.next(); r.GetPush().GetPub() != nil {
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
func testGapSpares(t *testing.T, build Build) {
	n := start(t, build, nil)
	old := n.subscribed(t, "news")
	n.bus.lost("news")
	old.expectGap("news")
	fresh := n.subscribed(t, "news", "other")
	old.subscribe("news")
	n.bus.lost("other")
	fresh.expectGap("other")
	for _, c := range []*client{old, fresh} {
		n.bus.publish("news", "1")
		c.expectPush("news", "1")
		if c == old {
			fresh.expectPush("news", "1")
		} else {
			old.expectPush("news", "1")
		}
	}
	// A connection without channels gets no notice.
	n.bus.lost("nobody's")
	n.session(t).roundTrip()
}

// The raw protocol has no word for a gap; its connections receive on.
func testGapRaw(t *testing.T, build Build) {
	n := start(t, build, nil)
	raw := n.open(t, modes.PathRaw+"?channel=news")
	session := n.subscribed(t, "news")
	n.bus.publish("news", "1")
	raw.expect(text("1"))
	session.expectPush("news", "1")
	n.bus.lost("news")
	session.expectGap("news")
	n.bus.publish("news", "2")
	raw.expect(text("2"))
}

// SDKs do not subscribe again to channels that came with their connect command.
// Such a connection ends, with a code on which they come back and bring the
// channels along; subscriptions of its own on other channels change nothing.
func testGapServerSide(t *testing.T, build Build) {
	n := start(t, build, nil)
	c, other := n.session(t, "server", "both"), n.subscribed(t, "server", "own")
	c.subscribe("own")
	n.bus.lost("own")
	c.expectGap("own")
	other.expectGap("own")
	c.subscribe("own")
	// A subscription that the client has ended and made again is its own.
	c.unsubscribe("both")
	c.subscribe("both")
	n.bus.lost("both")
	c.expectGap("both")
	n.bus.publish("server", "1")
	c.expectPush("server", "1")
	other.expectPush("server", "1")

	n.bus.lost("server")
	c.expectClose(int(wire.DisconnectInsufficient.Code))
	other.expectGap("server")
	n.awaitDisconnects(t, wire.DisconnectInsufficient.Reason, 1)
	back := n.open(t, modes.PathCentrifuge)
	if r := back.connect("server"); !r.Subs["server"].Recoverable || r.Subs["server"].Recovered {
		t.Errorf("connect: got %+v, want a subscription that is recoverable, so that SDKs ask for it again, and not recovered", r)
	}
	n.bus.publish("server", "2")
	back.expectPush("server", "2")
	if got := n.stats.Gaps.Load(); got != 5 {
		t.Errorf("%d gaps are counted, want 5", got)
	}
}

// An event tells of a gap, after which publications go on: to end the stream would
// lose more of them. A line cannot tell.
func testGapStreams(t *testing.T, build Build) {
	n := start(t, build, nil)
	sse := n.openStream(t, modes.PathSSE+"?channel=news&channel=other")
	stream := n.openStream(t, modes.PathStream+"?channel=news")
	session := n.subscribed(t, "news")
	for _, round := range []string{"1", "2"} {
		n.bus.publish("news", round)
		sse.expectEvent(round)
		stream.expectEvent(round)
		session.expectPush("news", round)
		n.bus.lost("news", "nobody's")
		if got := sse.event(); got != (event{name: "gap", data: "news"}) {
			t.Fatalf("got %q, want an event gap, news", got)
		}
		session.expectGap("news")
		n.bus.publish("news", "after "+round)
		sse.expectEvent("after " + round)
		stream.expectEvent(strconv.Quote("after " + round))
		session.subscribe("news")
	}
	// A client that comes after the loss has missed nothing.
	fresh := n.openStream(t, modes.PathSSE+"?channel=news&channel=other")
	n.bus.lost("other")
	for _, c := range []*client{sse, fresh} {
		if got := c.event(); got != (event{name: "gap", data: "other"}) {
			t.Fatalf("got %q, want an event gap, other, and nothing before", got)
		}
	}
}

func testGapLeave(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.GapRate = 50 })
	const many = 100
	clients := make([]*client, many)
	for i := range clients {
		clients[i] = n.subscribed(t, "news", "other")
	}
	n.bus.lost("news", "other")
	for i, c := range clients {
		switch i % 3 {
		case 0:
			c.reset()
		case 1:
			c.post(unsubscribeFrom("news"))
		default:
			c.call(&protocol.Command{Ping: &protocol.PingRequest{}})
		}
	}
	for _, c := range clients {
		c.leave()
	}
	n.settle(t)
}

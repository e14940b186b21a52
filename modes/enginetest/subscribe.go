package enginetest

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var subscribeCases = []suiteCase{
	{"subscribe/reply before the first push", testReplyFirst},
	{"subscribe/nothing lost after the reply", testNothingLost},
	{"subscribe/the only subscriber", testOnlySubscriber},
	{"subscribe/all channels of one connect", testAllOfOneConnect},
	{"subscribe/many on one held channel", testManyHeld},
	{"subscribe/a held channel holds up no other", testHeldOthers},
	{"subscribe/fails in Redis", testSubscribeFails},
	{"subscribe/Redis does not answer", testSubscribeTimeout},
	{"subscribe/to what others have while Redis is away", testSubscribeAway},
	{"unsubscribe/ends the pushes", testUnsubscribe},
	{"unsubscribe/while the subscription is pending", testUnsubscribePending},
	{"unsubscribe/churn under publications", testSubscribeChurn},
	{"subscribe/random commands in order", testInOrder},
	{"subscribe/random commands in order, Redis refuses some", testInOrderRefused},
	{"subscribe/random commands in order, private channels", kit.EachKey(testInOrderPrivate)},
}

func subscribeTo(channel string) *protocol.Command {
	return &protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: channel}}
}

func unsubscribeFrom(channel string) *protocol.Command {
	return &protocol.Command{Unsubscribe: &protocol.UnsubscribeRequest{Channel: channel}}
}

// Publications that come before the confirmation, or race with it, stay away
// until the reply is out.
func testReplyFirst(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for range 20 {
		release := n.Bus.Hold("news")
		c := n.Session(t)
		id := c.Post(subscribeTo("news"))
		n.Bus.AwaitWaiting(t, "news")
		p := n.PublishAlways(t, "news")
		kit.Await(t, "publications while the subscription is pending", func() (bool, string) {
			return p.Next.Load() > 5, ""
		})
		release(nil)
		if r := c.Next(); r.Id != id || r.Subscribe == nil {
			t.Fatalf("got %s, want the subscribe reply first", kit.Show(r))
		}
		c.ExpectContiguous("news", p.Next.Load(), 5)
		p.Stop()
		c.Leave()
		n.Settle(t)
	}
}

// A publisher that never stops meets subscriptions at every moment: from the
// reply on there is no gap.
func testNothingLost(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	p := n.PublishAlways(t, "news")
	defer p.Stop()
	kit.Together(t, 20, func(t kit.Tester, i int) {
		for round := range 5 {
			c := n.Open(t, modes.PathCentrifuge)
			var next int64
			if (i+round)%2 == 0 {
				c.Connect("news")
			} else {
				c.Connect()
				c.Subscribe("news")
			}
			next = p.Next.Load()
			c.ExpectContiguous("news", next, 50)
			c.Leave()
		}
	})
}

// A publication right after the reply reaches the subscriber even if no other
// connection has the channel or the encoding.
func testOnlySubscriber(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	kit.Together(t, 8, func(t kit.Tester, i int) {
		json := n.Session(t)
		protobuf := n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
		protobuf.Connect()
		for round := range 50 {
			channel := fmt.Sprintf("own %d %d", i, round)
			for _, c := range []*kit.Client{json, protobuf} {
				c.Subscribe(channel)
				n.Bus.Send(channel, "1")
				c.ExpectPush(channel, "1")
				c.Unsubscribe(channel)
			}
			raw := n.Open(t, modes.PathRaw+"?channel="+url.QueryEscape(channel))
			n.Bus.Send(channel, "2")
			raw.Expect(kit.Text("2"))
			raw.Leave()
		}
	})
}

// A client with the connect reply has all the channels that it names, even while the
// node is busy delivering to many others.
func testAllOfOneConnect(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	busy := []string{"busy 1", "busy 2", "busy 3", "busy 4"}
	crowd := make([]*kit.Client, 40)
	for i := range crowd {
		crowd[i] = n.Session(t, busy...)
	}
	wait := kit.Background(t, len(crowd), func(_ kit.Tester, i int) {
		for {
			if _, err := crowd[i].TryFrame(); err != nil {
				return
			}
		}
	})
	for round := range 40 {
		channels := make([]string, 100)
		for i := range channels {
			channels[i] = fmt.Sprintf("own %d %d", round, i)
		}
		c := n.Open(t, modes.PathCentrifuge)
		for range 10 {
			for _, channel := range busy {
				n.Bus.Send(channel, "1")
			}
		}
		c.Connect(channels...)
		for _, channel := range channels {
			n.Bus.Send(channel, "1")
		}
		came := map[string]bool{}
		for range channels {
			came[c.Next().GetPush().GetChannel()] = true
		}
		if len(came) != len(channels) {
			t.Fatalf("publications to %d channels came, want %d", len(came), len(channels))
		}
		c.Leave()
	}
	for _, c := range crowd {
		c.Leave()
	}
	wait()
}

func testManyHeld(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	release := n.Bus.Hold("news")
	const many = 300
	clients := make([]*kit.Client, many)
	ids := make([]uint32, many)
	kit.Together(t, many, func(t kit.Tester, i int) {
		c := n.Dial(t)
		c.LastID = 3
		c.Write(append(kit.Upgrade(modes.PathCentrifuge).Bytes(),
			kit.Encode(kit.Text(`{"id":1,"connect":{}}`), kit.Text(`{"id":2,"subscribe":{"channel":"news"}}`), kit.Text(`{"id":3,"ping":{}}`))...))
		c.ExpectUpgrade("")
		c.Reply(1)
		clients[i], ids[i] = c, 2
	})
	n.Bus.AwaitWaiting(t, "news")
	release(nil)
	kit.Together(t, many, func(t kit.Tester, i int) {
		c := clients[i]
		c.T = t
		if r := c.Reply(ids[i]); r.Subscribe == nil {
			t.Errorf("got %s, want the subscribe reply", kit.Show(r))
		}
		c.Reply(3)
	})
	if got := n.Stats.Subscriptions.Load(); got != many {
		t.Errorf("%d subscriptions are counted, want %d", got, many)
	}
	n.Bus.Send("news", `"to all"`)
	for _, c := range clients {
		c.T = t
		c.ExpectPush("news", `"to all"`)
		c.Leave()
	}
	n.Settle(t)
}

func testHeldOthers(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	release := n.Bus.Hold("held")
	waiting := make([]*kit.Client, 50)
	for i := range waiting {
		waiting[i] = n.Session(t)
		waiting[i].Post(subscribeTo("held"))
	}
	n.Bus.AwaitWaiting(t, "held")
	c := n.Session(t)
	c.Subscribe("free")
	n.Bus.Send("free", "1")
	c.ExpectPush("free", "1")
	// It does not hold up the other channels of the same connection either.
	mixed := n.Session(t, "free")
	id := mixed.Post(subscribeTo("held"))
	n.Bus.Send("free", "2")
	mixed.ExpectPush("free", "2")
	release(nil)
	if r := mixed.Reply(id); r.Subscribe == nil {
		t.Errorf("got %s, want the subscribe reply", kit.Show(r))
	}
}

func testSubscribeFails(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Session(t, "fence")
	for _, together := range []int{1, 20} {
		release := n.Bus.Hold("news")
		others := make([]*kit.Client, together)
		ids := make([]uint32, together)
		for i := range others {
			others[i] = n.Session(t)
			ids[i] = others[i].Post(subscribeTo("news"))
		}
		n.Bus.AwaitWaiting(t, "news")
		release(kit.ErrRefused)
		for i, other := range others {
			r := other.Reply(ids[i])
			// Those that came when the gate was open again are subscribed.
			if r.Subscribe != nil && together > 1 {
				continue
			}
			if r.GetError().GetCode() != 100 || !r.Error.Temporary {
				t.Errorf("got %s, want error 100, temporary", kit.Show(r))
			}
			other.Subscribe("news")
		}
		n.Bus.Send("news", "1")
		for _, other := range others {
			other.ExpectPush("news", "1")
			other.Leave()
		}
		kit.Await(t, "one reference, that of the fence", func() (bool, string) {
			got := n.Bus.References()
			return got == 1, fmt.Sprint(got)
		})
	}
	c.RoundTrip()
}

func testSubscribeTimeout(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.SubscribeTimeout = kit.ShortTimeout })
	release := n.Bus.Hold("news")
	defer release(nil)
	c := n.Session(t)
	c.ExpectError(c.Post(subscribeTo("news")), 100)
	c.Subscribe("other")
	raw := n.Dial(t)
	raw.Write(kit.Upgrade(modes.PathRaw + "?channel=news").Bytes())
	raw.ExpectRefusal(503)
}

// No client is told that it is subscribed unless Redis has confirmed the channel on the
// present link, whoever else has it.
func testSubscribeAway(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	first, late := n.Session(t, "news", "other"), n.Session(t)
	raw := n.Open(t, modes.PathRaw+"?channel=news")
	for range 3 {
		n.Bus.GoAway(true)
		late.ExpectError(late.Post(subscribeTo("news")), 100)
		c := n.Open(t, modes.PathCentrifuge)
		c.Send(kit.Text(`{"id":1,"connect":{"subs":{"other":{},"news":{},"new":{}}}}`))
		c.ExpectError(1, 100)
		c.Leave()
		n.Bus.GoAway(false)
		late.Subscribe("news")
		n.Bus.Send("news", "1")
		for _, c := range []*kit.Client{first, late} {
			c.ExpectPush("news", "1")
		}
		raw.Expect(kit.Text("1"))
		late.Unsubscribe("news")
	}
	// The last one to leave gives the channel back.
	first.Unsubscribe("news")
	n.Bus.Send("news", "2")
	raw.Expect(kit.Text("2"))
	for _, c := range []*kit.Client{first, late, raw} {
		c.Leave()
	}
	n.Settle(t)
}

func testUnsubscribe(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Session(t, "news", "fence")
	other := n.Session(t, "news")
	for round := range 20 {
		n.Bus.Send("news", fmt.Sprint(round))
		c.ExpectPush("news", fmt.Sprint(round))
		other.ExpectPush("news", fmt.Sprint(round))
		c.Unsubscribe("news")
		n.Bus.Send("news", `"not for all"`)
		other.ExpectPush("news", `"not for all"`)
		n.Fence(c, "fence")
		c.Subscribe("news")
	}
	if got := n.Stats.Subscriptions.Load(); got != 3 {
		t.Errorf("%d subscriptions are counted, want 3", got)
	}
}

func testUnsubscribePending(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for _, result := range []error{nil, kit.ErrRefused} {
		c := n.Session(t, "fence")
		release := n.Bus.Hold("news")
		first := c.Post(subscribeTo("news"))
		n.Bus.AwaitWaiting(t, "news")
		second := c.Post(unsubscribeFrom("news"))
		release(result)
		if r := c.Next(); r.Id != first || (r.Subscribe == nil) == (result == nil) {
			t.Errorf("subscription ended with %v: got %s, want its reply first", result, kit.Show(r))
		}
		if r := c.Next(); r.Id != second || r.Unsubscribe == nil {
			t.Errorf("subscription ended with %v: got %s, want the unsubscribe reply", result, kit.Show(r))
		}
		n.Bus.Send("news", "1")
		n.Fence(c, "fence")
		kit.Await(t, "the fence's reference alone", func() (bool, string) {
			got := n.Bus.References()
			return got == 1, fmt.Sprint(got)
		})
		c.Subscribe("news")
		n.Bus.Send("news", "2")
		c.ExpectPush("news", "2")
		c.Leave()
		n.Settle(t)
	}
	// Subscribe, unsubscribe, subscribe, without waiting for anything.
	c := n.Session(t)
	release := n.Bus.Hold("news")
	ids := []uint32{c.Post(subscribeTo("news"))}
	n.Bus.AwaitWaiting(t, "news")
	ids = append(ids, c.Post(unsubscribeFrom("news")), c.Post(subscribeTo("news")))
	c.RoundTrip()
	release(nil)
	for i, id := range ids {
		if r := c.Next(); r.Id != id || (r.Subscribe == nil) != (i == 1) || (r.Unsubscribe == nil) != (i != 1) {
			t.Errorf("got %s, want the reply to command %d", kit.Show(r), id)
		}
	}
	n.Bus.Send("news", "3")
	c.ExpectPush("news", "3")
	c.Leave()
	n.Settle(t)
}

// Subscriptions come and go on both ends of a channel's life, while others
// stay: each is a contiguous piece of the stream, from its reply to the reply of
// its end.
func testSubscribeChurn(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	channels := []string{"a", "b", "c"}
	var publishers []*kit.Publisher
	for _, channel := range channels {
		publishers = append(publishers, n.PublishAlways(t, channel))
	}
	kit.Together(t, 15, func(t kit.Tester, i int) {
		c := n.Session(t)
		channel, p := channels[i%len(channels)], publishers[i%len(channels)]
		for range 30 {
			c.Subscribe(channel)
			last := c.ExpectContiguous(channel, p.Next.Load(), 5)
			id := c.Post(unsubscribeFrom(channel))
			for {
				r := c.Next()
				if r.Id == id {
					break
				}
				if number := c.Number(r, channel); number != last+1 {
					t.Fatalf("got publication %d after %d", number, last)
				}
				last++
			}
		}
		c.Leave()
	})
	for _, p := range publishers {
		p.Stop()
	}
	n.Settle(t)
}

package enginetest

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
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
	{"subscribe/random commands in order, private channels", eachKey(testInOrderPrivate)},
}

func subscribeTo(channel string) *protocol.Command {
	return &protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: channel}}
}

func unsubscribeFrom(channel string) *protocol.Command {
	return &protocol.Command{Unsubscribe: &protocol.UnsubscribeRequest{Channel: channel}}
}

// Publications that come before the confirmation, or race with it, stay away
// until the reply is out.
func testReplyFirst(t *testing.T, build Build) {
	n := start(t, build, nil)
	for range 20 {
		release := n.bus.hold("news")
		c := n.session(t)
		id := c.post(subscribeTo("news"))
		n.bus.awaitWaiting(t, "news")
		p := n.publishAlways(t, "news")
		await(t, "publications while the subscription is pending", func() (bool, string) {
			return p.next.Load() > 5, ""
		})
		release(nil)
		if r := c.next(); r.Id != id || r.Subscribe == nil {
			t.Fatalf("got %s, want the subscribe reply first", show(r))
		}
		c.expectContiguous("news", p.next.Load(), 5)
		p.stop()
		c.leave()
		n.settle(t)
	}
}

// A publisher that never stops meets subscriptions at every moment: from the
// reply on there is no gap.
func testNothingLost(t *testing.T, build Build) {
	n := start(t, build, nil)
	p := n.publishAlways(t, "news")
	defer p.stop()
	together(t, 20, func(t tester, i int) {
		for round := range 5 {
			c := n.open(t, modes.PathCentrifuge)
			var next int64
			if (i+round)%2 == 0 {
				c.connect("news")
			} else {
				c.connect()
				c.subscribe("news")
			}
			next = p.next.Load()
			c.expectContiguous("news", next, 50)
			c.leave()
		}
	})
}

// A publication right after the reply reaches the subscriber even if no other
// connection has the channel or the encoding.
func testOnlySubscriber(t *testing.T, build Build) {
	n := start(t, build, nil)
	together(t, 8, func(t tester, i int) {
		json := n.session(t)
		protobuf := n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
		protobuf.connect()
		for round := range 50 {
			channel := fmt.Sprintf("own %d %d", i, round)
			for _, c := range []*client{json, protobuf} {
				c.subscribe(channel)
				n.bus.publish(channel, "1")
				c.expectPush(channel, "1")
				c.unsubscribe(channel)
			}
			raw := n.open(t, modes.PathRaw+"?channel="+url.QueryEscape(channel))
			n.bus.publish(channel, "2")
			raw.expect(text("2"))
			raw.leave()
		}
	})
}

// A client with the connect reply has all the channels that it names, even while the
// node is busy delivering to many others.
func testAllOfOneConnect(t *testing.T, build Build) {
	n := start(t, build, nil)
	busy := []string{"busy 1", "busy 2", "busy 3", "busy 4"}
	crowd := make([]*client, 40)
	for i := range crowd {
		crowd[i] = n.session(t, busy...)
	}
	wait := background(t, len(crowd), func(_ tester, i int) {
		for {
			if _, err := crowd[i].tryFrame(); err != nil {
				return
			}
		}
	})
	for round := range 40 {
		channels := make([]string, 100)
		for i := range channels {
			channels[i] = fmt.Sprintf("own %d %d", round, i)
		}
		c := n.open(t, modes.PathCentrifuge)
		for range 10 {
			for _, channel := range busy {
				n.bus.publish(channel, "1")
			}
		}
		c.connect(channels...)
		for _, channel := range channels {
			n.bus.publish(channel, "1")
		}
		came := map[string]bool{}
		for range channels {
			came[c.next().GetPush().GetChannel()] = true
		}
		if len(came) != len(channels) {
			t.Fatalf("publications to %d channels came, want %d", len(came), len(channels))
		}
		c.leave()
	}
	for _, c := range crowd {
		c.leave()
	}
	wait()
}

func testManyHeld(t *testing.T, build Build) {
	n := start(t, build, nil)
	release := n.bus.hold("news")
	const many = 300
	clients := make([]*client, many)
	ids := make([]uint32, many)
	together(t, many, func(t tester, i int) {
		c := n.dial(t)
		c.lastID = 3
		c.write(append(upgrade(modes.PathCentrifuge).bytes(),
			encode(text(`{"id":1,"connect":{}}`), text(`{"id":2,"subscribe":{"channel":"news"}}`), text(`{"id":3,"ping":{}}`))...))
		c.expectUpgrade("")
		c.reply(1)
		clients[i], ids[i] = c, 2
	})
	n.bus.awaitWaiting(t, "news")
	release(nil)
	together(t, many, func(t tester, i int) {
		c := clients[i]
		c.t = t
		if r := c.reply(ids[i]); r.Subscribe == nil {
			t.Errorf("got %s, want the subscribe reply", show(r))
		}
		c.reply(3)
	})
	if got := n.stats.Subscriptions.Load(); got != many {
		t.Errorf("%d subscriptions are counted, want %d", got, many)
	}
	n.bus.publish("news", `"to all"`)
	for _, c := range clients {
		c.t = t
		c.expectPush("news", `"to all"`)
		c.leave()
	}
	n.settle(t)
}

func testHeldOthers(t *testing.T, build Build) {
	n := start(t, build, nil)
	release := n.bus.hold("held")
	waiting := make([]*client, 50)
	for i := range waiting {
		waiting[i] = n.session(t)
		waiting[i].post(subscribeTo("held"))
	}
	n.bus.awaitWaiting(t, "held")
	c := n.session(t)
	c.subscribe("free")
	n.bus.publish("free", "1")
	c.expectPush("free", "1")
	// It does not hold up the other channels of the same connection either.
	mixed := n.session(t, "free")
	id := mixed.post(subscribeTo("held"))
	n.bus.publish("free", "2")
	mixed.expectPush("free", "2")
	release(nil)
	if r := mixed.reply(id); r.Subscribe == nil {
		t.Errorf("got %s, want the subscribe reply", show(r))
	}
}

func testSubscribeFails(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.session(t, "fence")
	for _, together := range []int{1, 20} {
		release := n.bus.hold("news")
		others := make([]*client, together)
		ids := make([]uint32, together)
		for i := range others {
			others[i] = n.session(t)
			ids[i] = others[i].post(subscribeTo("news"))
		}
		n.bus.awaitWaiting(t, "news")
		release(errRefused)
		for i, other := range others {
			r := other.reply(ids[i])
			// Those that came when the gate was open again are subscribed.
			if r.Subscribe != nil && together > 1 {
				continue
			}
			if r.GetError().GetCode() != 100 || !r.Error.Temporary {
				t.Errorf("got %s, want error 100, temporary", show(r))
			}
			other.subscribe("news")
		}
		n.bus.publish("news", "1")
		for _, other := range others {
			other.expectPush("news", "1")
			other.leave()
		}
		await(t, "one reference, that of the fence", func() (bool, string) {
			got := n.bus.references()
			return got == 1, fmt.Sprint(got)
		})
	}
	c.roundTrip()
}

func testSubscribeTimeout(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.subscribeTimeout = shortTimeout })
	release := n.bus.hold("news")
	defer release(nil)
	c := n.session(t)
	c.expectError(c.post(subscribeTo("news")), 100)
	c.subscribe("other")
	raw := n.dial(t)
	raw.write(upgrade(modes.PathRaw + "?channel=news").bytes())
	raw.expectRefusal(503)
}

// No client is told that it is subscribed unless Redis has confirmed the channel on the
// present link, whoever else has it.
func testSubscribeAway(t *testing.T, build Build) {
	n := start(t, build, nil)
	first, late := n.session(t, "news", "other"), n.session(t)
	raw := n.open(t, modes.PathRaw+"?channel=news")
	for range 3 {
		n.bus.goAway(true)
		late.expectError(late.post(subscribeTo("news")), 100)
		c := n.open(t, modes.PathCentrifuge)
		c.send(text(`{"id":1,"connect":{"subs":{"other":{},"news":{},"new":{}}}}`))
		c.expectError(1, 100)
		c.leave()
		n.bus.goAway(false)
		late.subscribe("news")
		n.bus.publish("news", "1")
		for _, c := range []*client{first, late} {
			c.expectPush("news", "1")
		}
		raw.expect(text("1"))
		late.unsubscribe("news")
	}
	// The last one to leave gives the channel back.
	first.unsubscribe("news")
	n.bus.publish("news", "2")
	raw.expect(text("2"))
	for _, c := range []*client{first, late, raw} {
		c.leave()
	}
	n.settle(t)
}

func testUnsubscribe(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.session(t, "news", "fence")
	other := n.session(t, "news")
	for round := range 20 {
		n.bus.publish("news", fmt.Sprint(round))
		c.expectPush("news", fmt.Sprint(round))
		other.expectPush("news", fmt.Sprint(round))
		c.unsubscribe("news")
		n.bus.publish("news", `"not for all"`)
		other.expectPush("news", `"not for all"`)
		n.fence(c, "fence")
		c.subscribe("news")
	}
	if got := n.stats.Subscriptions.Load(); got != 3 {
		t.Errorf("%d subscriptions are counted, want 3", got)
	}
}

func testUnsubscribePending(t *testing.T, build Build) {
	n := start(t, build, nil)
	for _, result := range []error{nil, errRefused} {
		c := n.session(t, "fence")
		release := n.bus.hold("news")
		first := c.post(subscribeTo("news"))
		n.bus.awaitWaiting(t, "news")
		second := c.post(unsubscribeFrom("news"))
		release(result)
		if r := c.next(); r.Id != first || (r.Subscribe == nil) == (result == nil) {
			t.Errorf("subscription ended with %v: got %s, want its reply first", result, show(r))
		}
		if r := c.next(); r.Id != second || r.Unsubscribe == nil {
			t.Errorf("subscription ended with %v: got %s, want the unsubscribe reply", result, show(r))
		}
		n.bus.publish("news", "1")
		n.fence(c, "fence")
		await(t, "the fence's reference alone", func() (bool, string) {
			got := n.bus.references()
			return got == 1, fmt.Sprint(got)
		})
		c.subscribe("news")
		n.bus.publish("news", "2")
		c.expectPush("news", "2")
		c.leave()
		n.settle(t)
	}
	// Subscribe, unsubscribe, subscribe, without waiting for anything.
	c := n.session(t)
	release := n.bus.hold("news")
	ids := []uint32{c.post(subscribeTo("news"))}
	n.bus.awaitWaiting(t, "news")
	ids = append(ids, c.post(unsubscribeFrom("news")), c.post(subscribeTo("news")))
	c.roundTrip()
	release(nil)
	for i, id := range ids {
		if r := c.next(); r.Id != id || (r.Subscribe == nil) != (i == 1) || (r.Unsubscribe == nil) != (i != 1) {
			t.Errorf("got %s, want the reply to command %d", show(r), id)
		}
	}
	n.bus.publish("news", "3")
	c.expectPush("news", "3")
	c.leave()
	n.settle(t)
}

// Subscriptions come and go on both ends of a channel's life, while others
// stay: each is a contiguous piece of the stream, from its reply to the reply of
// its end.
func testSubscribeChurn(t *testing.T, build Build) {
	n := start(t, build, nil)
	channels := []string{"a", "b", "c"}
	var publishers []*publisher
	for _, channel := range channels {
		publishers = append(publishers, n.publishAlways(t, channel))
	}
	together(t, 15, func(t tester, i int) {
		c := n.session(t)
		channel, p := channels[i%len(channels)], publishers[i%len(channels)]
		for range 30 {
			c.subscribe(channel)
			last := c.expectContiguous(channel, p.next.Load(), 5)
			id := c.post(unsubscribeFrom(channel))
			for {
				r := c.next()
				if r.Id == id {
					break
				}
				if number := c.number(r, channel); number != last+1 {
					t.Fatalf("got publication %d after %d", number, last)
				}
				last++
			}
		}
		c.leave()
	})
	for _, p := range publishers {
		p.stop()
	}
	n.settle(t)
}

package enginetest

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
	"github.com/tandem-ws/tandem/redisbus"
)

var redisCases = []suiteCase{
	{"redis/fan-out and order", testRedisFanout},
	{"redis/nothing lost after the reply", testRedisNothingLost},
	{"redis/many subscribe at once", testRedisStorm},
	{"redis/thousands subscribe while it takes its time", testRedisBatches},
	{"redis/client publish", testRedisPublish},
	{"redis/killed and restarted", testRedisRestart},
	{"redis/paused", testRedisPaused},
	{"redis/away from the start", testRedisAway},
}

// PublishAlways is node.PublishAlways through Redis.
func publishAlways(n *kit.RedisNode, t *testing.T, channel string) *kit.Publisher {
	return kit.PublishSteadily(t, func(number string) { n.Server.Publish(channel, number) })
}

func testRedisFanout(t *testing.T, build kit.Build) {
	n := kit.StartRedis(t, build, 2, nil)
	const clients, messages = 20, 1000
	channels := []string{"a", "b", "c", "d"}
	var progress [clients]atomic.Int64
	readers := make([]*kit.Client, clients)
	for i := range readers {
		readers[i] = n.Session(t, channels...)
	}
	raw := n.Open(t, modes.PathRaw+"?channel=raw")
	wait := kit.Background(t, clients, func(t kit.Tester, i int) {
		c := readers[i]
		c.T = t
		next := map[string]int64{}
		for range messages {
			r := c.Next()
			channel := r.GetPush().GetChannel()
			if got := c.Number(r, channel); got != next[channel] {
				t.Fatalf("channel %q: got %d, want %d", channel, got, next[channel])
			}
			next[channel]++
			progress[i].Add(1)
		}
	})
	// Pipelines bring bursts, as busy back ends do.
	const burst = 20
	for i := 0; i < messages; i += burst {
		pipe := n.Server.Client().Pipeline()
		for j := i; j < i+burst; j++ {
			pipe.Publish(context.Background(), channels[j%len(channels)], strconv.Itoa(j/len(channels)))
		}
		if _, err := pipe.Exec(context.Background()); err != nil {
			t.Fatalf("publish: %v", err)
		}
		pace(t, progress[:], int64(i+burst))
	}
	wait()
	n.Server.Publish("raw", "a\xffb")
	raw.Expect(kit.BinaryFrame("a\xffb"))
}

func testRedisNothingLost(t *testing.T, build kit.Build) {
	n := kit.StartRedis(t, build, 2, nil)
	channels := []string{"a", "b", "c"}
	var publishers []*kit.Publisher
	for _, channel := range channels {
		publishers = append(publishers, publishAlways(n, t, channel))
	}
	kit.Together(t, 15, func(t kit.Tester, i int) {
		channel, p := channels[i%len(channels)], publishers[i%len(channels)]
		c := n.Session(t)
		for range 10 {
			c.Subscribe(channel)
			last := c.ExpectContiguous(channel, p.Next.Load(), 5)
			id := c.Post(unsubscribeFrom(channel))
			for r := c.Next(); r.Id != id; r = c.Next() {
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
	kit.Await(t, "no channel subscribed in Redis", func() (bool, string) {
		channels := n.Server.Channels()
		for _, channel := range channels {
			if channel == "a" || channel == "b" || channel == "c" {
				return false, fmt.Sprint(channels)
			}
		}
		return true, ""
	})
}

// Clients that come at once, each with a channel of its own and one in common.
func testRedisStorm(t *testing.T, build kit.Build) {
	n := kit.StartRedis(t, build, 2, nil)
	const many = 300
	clients := make([]*kit.Client, many)
	kit.Together(t, many, func(t kit.Tester, i int) {
		clients[i] = n.Session(t)
		clients[i].Subscribe("all")
		clients[i].Subscribe(fmt.Sprintf("own %d", i))
	})
	n.Server.Publish("all", "1")
	for i, c := range clients {
		c.T = t
		c.ExpectPush("all", "1")
		n.Server.Publish(fmt.Sprintf("own %d", i), strconv.Itoa(i))
	}
	for i, c := range clients {
		c.ExpectPush(fmt.Sprintf("own %d", i), strconv.Itoa(i))
	}
}

// While Redis takes its time, all other subscriptions wait for the same few
// commands, and none is refused.
func testRedisBatches(t *testing.T, build kit.Build) {
	n := kit.StartRedisBus(t, build, redisbus.Options{HeartbeatTimeout: kit.Patience, SubscribeTimeout: kit.Patience}, nil)
	const many, each = 500, 4
	clients := make([]*kit.Client, many)
	kit.Together(t, many, func(t kit.Tester, i int) { clients[i] = n.Session(t) })
	before := n.Server.Calls("subscribe")
	n.Server.Pause()
	ids := make([]uint32, many)
	for i, c := range clients {
		ids[i] = c.LastID + 1
		for k := range each {
			c.Post(subscribeTo(fmt.Sprintf("own %d %d", i, k)))
		}
	}
	kit.Await(t, "all to wait for Redis", func() (bool, string) {
		references := n.Bus.Stats().Links[0].References
		return references == many*each, fmt.Sprint(references)
	})
	n.Server.Resume()
	for i, c := range clients {
		for k := range each {
			if r := c.Reply(ids[i] + uint32(k)); r.Subscribe == nil {
				t.Fatalf("client %d: got %s, want the reply to subscribe %d", i, kit.Show(r), k)
			}
		}
	}
	// One that was on its way already, and batches of 512.
	if calls, most := n.Server.Calls("subscribe")-before, 2+many*each/512; calls > most {
		t.Errorf("%d SUBSCRIBE commands for %d channels, want no more than %d", calls, many*each, most)
	}
}

func testRedisPublish(t *testing.T, build kit.Build) {
	n := kit.StartRedis(t, build, 2, func(s *kit.Setup) { s.Rules.ClientPublish = true })
	c := n.Subscribed(t, "news")
	publishMany(c, "news", 5)
	n.Server.Kill()
	kit.Await(t, "publish to fail", func() (bool, string) {
		r := c.Call(&protocol.Command{Publish: &protocol.PublishRequest{Channel: "news", Data: protocol.Raw("1")}})
		return r.GetError().GetCode() == 100, kit.Show(r)
	})
}

// Redis dies and comes back empty: clients stay, are told, subscribe again, and
// miss nothing from then on.
func testRedisRestart(t *testing.T, build kit.Build) {
	n := kit.StartRedis(t, build, 2, nil)
	const clients = 50
	readers := make([]*kit.Client, clients)
	for i := range readers {
		readers[i] = n.Subscribed(t, "news")
	}
	raw := n.Open(t, modes.PathRaw+"?channel=news")
	for round := range 2 {
		n.Server.Publish("news", "-1")
		for _, c := range readers {
			c.ExpectPush("news", "-1")
		}
		raw.Expect(kit.Text("-1"))
		n.Server.Kill()
		kit.Await(t, "the loss to be noticed", func() (bool, string) { return n.Bus.Ready() != nil, "" })
		for _, c := range readers {
			c.RoundTrip()
		}
		stranger := n.Session(t)
		stranger.ExpectError(stranger.Post(subscribeTo(fmt.Sprintf("never seen %d", round))), 100)
		n.Server.Restart()
		n.AwaitReady(t)
		for _, c := range readers {
			c.ExpectGap("news")
		}
		p := publishAlways(n, t, "news")
		var seen [clients]int64
		kit.Together(t, clients, func(t kit.Tester, i int) {
			c := readers[i]
			c.T = t
			c.Subscribe("news")
			seen[i] = c.ExpectContiguous("news", p.Next.Load(), 10)
		})
		p.Stop()
		last := p.Next.Load() - 1
		for i, c := range readers {
			c.T = t
			for ; seen[i] < last; seen[i]++ {
				c.ExpectPush("news", strconv.FormatInt(seen[i]+1, 10))
			}
		}
		for string(raw.Message().Body) != strconv.FormatInt(last, 10) {
		}
	}
	if got := n.Connections(wire.JSON); got < clients {
		t.Errorf("%d connections are left of %d", got, clients)
	}
}

// A Redis that hangs is found out by the heartbeat.
func testRedisPaused(t *testing.T, build kit.Build) {
	n := kit.StartRedis(t, build, 1, nil)
	c := n.Subscribed(t, "news")
	n.Server.Pause()
	// The subscription fails with the link that it waits on.
	c.ExpectError(c.Post(subscribeTo("other")), 100)
	c.RoundTrip()
	n.Server.Resume()
	n.AwaitReady(t)
	c.ExpectGap("news")
	c.Subscribe("news")
	n.Server.Publish("news", "1")
	c.ExpectPush("news", "1")
}

// A node whose Redis is away lets clients in, and tells them what does not work.
func testRedisAway(t *testing.T, build kit.Build) {
	n := kit.StartRedis(t, build, 2, nil)
	n.Server.Kill()
	kit.Await(t, "the loss to be noticed", func() (bool, string) { return n.Bus.Ready() != nil, "" })
	c := n.Session(t)
	c.ExpectError(c.Post(subscribeTo("news")), 100)
	raw := n.Dial(t)
	raw.Write(kit.Upgrade(modes.PathRaw + "?channel=news").Bytes())
	raw.ExpectRefusal(503)
	n.Server.Restart()
	n.AwaitReady(t)
	c.Subscribe("news")
	n.Server.Publish("news", "1")
	c.ExpectPush("news", "1")
}

package enginetest

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
	"github.com/tandem-ws/tandem/redisbus"
	"github.com/tandem-ws/tandem/redisbus/redistest"
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

// redisNode is a node on a real Redis.
type redisNode struct {
	*node
	server *redistest.Server
	bus    *redisbus.Bus
}

// startRedis runs an engine on a redis-server of its own.
func startRedis(t *testing.T, build Build, links int, change func(*setup)) *redisNode {
	t.Helper()
	return startRedisBus(t, build, redisbus.Options{
		Connections: links, Linger: 20 * time.Millisecond,
		HeartbeatInterval: 200 * time.Millisecond, HeartbeatTimeout: shortTimeout, ReconnectMax: 200 * time.Millisecond,
	}, change)
}

// startRedisBus is startRedis with a bus of these options.
func startRedisBus(t *testing.T, build Build, options redisbus.Options, change func(*setup)) *redisNode {
	t.Helper()
	server := redistest.Start(t)
	options.URL, options.Log = server.URL(), slog.New(slog.NewTextHandler(logWriter{t}, nil))
	bus, err := redisbus.New(options)
	if err != nil {
		t.Fatal(err)
	}
	// The engine stops first: cleanups run in reverse.
	t.Cleanup(bus.Close)
	n := start(t, build, func(s *setup) {
		s.bus = bus
		if change != nil {
			change(s)
		}
	})
	if err := bus.Start(n.engine); err != nil {
		t.Fatal(err)
	}
	r := &redisNode{node: n, server: server, bus: bus}
	r.awaitReady(t)
	return r
}

// awaitReady waits until the link to Redis is up.
func (n *redisNode) awaitReady(t tester) {
	t.Helper()
	await(t, "the link to Redis", func() (bool, string) {
		err := n.bus.Ready()
		return err == nil, fmt.Sprint(err)
	})
}

// publishAlways is node.publishAlways through Redis.
func (n *redisNode) publishAlways(t *testing.T, channel string) *publisher {
	return publishSteadily(t, func(number string) { n.server.Publish(channel, number) })
}

func testRedisFanout(t *testing.T, build Build) {
	n := startRedis(t, build, 2, nil)
	const clients, messages = 20, 1000
	channels := []string{"a", "b", "c", "d"}
	var progress [clients]atomic.Int64
	readers := make([]*client, clients)
	for i := range readers {
		readers[i] = n.session(t, channels...)
	}
	raw := n.open(t, modes.PathRaw+"?channel=raw")
	wait := background(t, clients, func(t tester, i int) {
		c := readers[i]
		c.t = t
		next := map[string]int64{}
		for range messages {
			r := c.next()
			channel := r.GetPush().GetChannel()
			if got := c.number(r, channel); got != next[channel] {
				t.Fatalf("channel %q: got %d, want %d", channel, got, next[channel])
			}
			next[channel]++
			progress[i].Add(1)
		}
	})
	// Pipelines bring bursts, as busy back ends do.
	const burst = 20
	for i := 0; i < messages; i += burst {
		pipe := n.server.Client().Pipeline()
		for j := i; j < i+burst; j++ {
			pipe.Publish(context.Background(), channels[j%len(channels)], strconv.Itoa(j/len(channels)))
		}
		if _, err := pipe.Exec(context.Background()); err != nil {
			t.Fatalf("publish: %v", err)
		}
		pace(t, progress[:], int64(i+burst))
	}
	wait()
	n.server.Publish("raw", "a\xffb")
	raw.expect(binaryFrame("a\xffb"))
}

func testRedisNothingLost(t *testing.T, build Build) {
	n := startRedis(t, build, 2, nil)
	channels := []string{"a", "b", "c"}
	var publishers []*publisher
	for _, channel := range channels {
		publishers = append(publishers, n.publishAlways(t, channel))
	}
	together(t, 15, func(t tester, i int) {
		channel, p := channels[i%len(channels)], publishers[i%len(channels)]
		c := n.session(t)
		for range 10 {
			c.subscribe(channel)
			last := c.expectContiguous(channel, p.next.Load(), 5)
			id := c.post(unsubscribeFrom(channel))
			for r := c.next(); r.Id != id; r = c.next() {
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
	await(t, "no channel subscribed in Redis", func() (bool, string) {
		channels := n.server.Channels()
		for _, channel := range channels {
			if channel == "a" || channel == "b" || channel == "c" {
				return false, fmt.Sprint(channels)
			}
		}
		return true, ""
	})
}

// Clients that come at once, each with a channel of its own and one in common.
func testRedisStorm(t *testing.T, build Build) {
	n := startRedis(t, build, 2, nil)
	const many = 300
	clients := make([]*client, many)
	together(t, many, func(t tester, i int) {
		clients[i] = n.session(t)
		clients[i].subscribe("all")
		clients[i].subscribe(fmt.Sprintf("own %d", i))
	})
	n.server.Publish("all", "1")
	for i, c := range clients {
		c.t = t
		c.expectPush("all", "1")
		n.server.Publish(fmt.Sprintf("own %d", i), strconv.Itoa(i))
	}
	for i, c := range clients {
		c.expectPush(fmt.Sprintf("own %d", i), strconv.Itoa(i))
	}
}

// While Redis takes its time, all other subscriptions wait for the same few
// commands, and none is refused.
func testRedisBatches(t *testing.T, build Build) {
	n := startRedisBus(t, build, redisbus.Options{HeartbeatTimeout: patience, SubscribeTimeout: patience}, nil)
	const many, each = 500, 4
	clients := make([]*client, many)
	together(t, many, func(t tester, i int) { clients[i] = n.session(t) })
	before := n.server.Calls("subscribe")
	n.server.Pause()
	ids := make([]uint32, many)
	for i, c := range clients {
		ids[i] = c.lastID + 1
		for k := range each {
			c.post(subscribeTo(fmt.Sprintf("own %d %d", i, k)))
		}
	}
	await(t, "all to wait for Redis", func() (bool, string) {
		references := n.bus.Stats().Links[0].References
		return references == many*each, fmt.Sprint(references)
	})
	n.server.Resume()
	for i, c := range clients {
		for k := range each {
			if r := c.reply(ids[i] + uint32(k)); r.Subscribe == nil {
				t.Fatalf("client %d: got %s, want the reply to subscribe %d", i, show(r), k)
			}
		}
	}
	// One that was on its way already, and batches of 512.
	if calls, most := n.server.Calls("subscribe")-before, 2+many*each/512; calls > most {
		t.Errorf("%d SUBSCRIBE commands for %d channels, want no more than %d", calls, many*each, most)
	}
}

func testRedisPublish(t *testing.T, build Build) {
	n := startRedis(t, build, 2, func(s *setup) { s.rules.ClientPublish = true })
	c := n.subscribed(t, "news")
	c.publishMany("news", 5)
	n.server.Kill()
	await(t, "publish to fail", func() (bool, string) {
		r := c.call(&protocol.Command{Publish: &protocol.PublishRequest{Channel: "news", Data: protocol.Raw("1")}})
		return r.GetError().GetCode() == 100, show(r)
	})
}

// Redis dies and comes back empty: clients stay, are told, subscribe again, and
// miss nothing from then on.
func testRedisRestart(t *testing.T, build Build) {
	n := startRedis(t, build, 2, nil)
	const clients = 50
	readers := make([]*client, clients)
	for i := range readers {
		readers[i] = n.subscribed(t, "news")
	}
	raw := n.open(t, modes.PathRaw+"?channel=news")
	for round := range 2 {
		n.server.Publish("news", "-1")
		for _, c := range readers {
			c.expectPush("news", "-1")
		}
		raw.expect(text("-1"))
		n.server.Kill()
		await(t, "the loss to be noticed", func() (bool, string) { return n.bus.Ready() != nil, "" })
		for _, c := range readers {
			c.roundTrip()
		}
		stranger := n.session(t)
		stranger.expectError(stranger.post(subscribeTo(fmt.Sprintf("never seen %d", round))), 100)
		n.server.Restart()
		n.awaitReady(t)
		for _, c := range readers {
			c.expectGap("news")
		}
		p := n.publishAlways(t, "news")
		var seen [clients]int64
		together(t, clients, func(t tester, i int) {
			c := readers[i]
			c.t = t
			c.subscribe("news")
			seen[i] = c.expectContiguous("news", p.next.Load(), 10)
		})
		p.stop()
		last := p.next.Load() - 1
		for i, c := range readers {
			c.t = t
			for ; seen[i] < last; seen[i]++ {
				c.expectPush("news", strconv.FormatInt(seen[i]+1, 10))
			}
		}
		for string(raw.message().body) != strconv.FormatInt(last, 10) {
		}
	}
	if got := n.connections(wire.JSON); got < clients {
		t.Errorf("%d connections are left of %d", got, clients)
	}
}

// A Redis that hangs is found out by the heartbeat.
func testRedisPaused(t *testing.T, build Build) {
	n := startRedis(t, build, 1, nil)
	c := n.subscribed(t, "news")
	n.server.Pause()
	// The subscription fails with the link that it waits on.
	c.expectError(c.post(subscribeTo("other")), 100)
	c.roundTrip()
	n.server.Resume()
	n.awaitReady(t)
	c.expectGap("news")
	c.subscribe("news")
	n.server.Publish("news", "1")
	c.expectPush("news", "1")
}

// A node whose Redis is away lets clients in, and tells them what does not work.
func testRedisAway(t *testing.T, build Build) {
	n := startRedis(t, build, 2, nil)
	n.server.Kill()
	await(t, "the loss to be noticed", func() (bool, string) { return n.bus.Ready() != nil, "" })
	c := n.session(t)
	c.expectError(c.post(subscribeTo("news")), 100)
	raw := n.dial(t)
	raw.write(upgrade(modes.PathRaw + "?channel=news").bytes())
	raw.expectRefusal(503)
	n.server.Restart()
	n.awaitReady(t)
	c.subscribe("news")
	n.server.Publish("news", "1")
	c.expectPush("news", "1")
}

package enginetest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
)

// The cases here count descriptors and goroutines of the whole process, so
// nothing else may run beside them.
var leftoverCases = []suiteCase{
	{"leftovers/client vanishes in every state", testVanish},
	{"leftovers/churn", testChurn},
	{"leftovers/churn while publications flow", testChurnFlow},
	{"leftovers/node stops", testNodeStops},
	{"leftovers/subscriptions that wait for Redis", testSubscribeFar},
	{"leftovers/random endings", testRandomEndings},
}

// usage is what connections must give back.
type usage struct{ descriptors, goroutines int }

func measure(t tester) usage {
	t.Helper()
	return usage{descriptors(t), runtime.NumGoroutine()}
}

// spare is how many goroutines an engine may keep for later, beside those that
// it had: a pool that grows with the load and is bounded.
const spare = 40

// awaitUsage waits until no more descriptors are open than before, and no more
// goroutines run than before and are kept for later.
func awaitUsage(t tester, before usage, spare int) {
	t.Helper()
	await(t, fmt.Sprintf("descriptors and goroutines back to %+v", before), func() (bool, string) {
		now := measure(t)
		return now.descriptors <= before.descriptors && now.goroutines <= before.goroutines+spare, fmt.Sprintf("%+v", now)
	})
}

// vanishing is one way for clients to be gone.
var vanishing = map[string]func(c *client){
	"FIN":   func(c *client) { c.leave() },
	"reset": func(c *client) { c.reset() },
	"half closed, then FIN": func(c *client) {
		_ = c.conn.CloseWrite()
		c.leave()
	},
}

// states are the states in which a client vanishes. Each opens a client and
// brings it there; held is a channel whose confirmation is held.
var states = map[string]func(n *node, t tester, held string) *client{
	"before the handshake": func(n *node, t tester, _ string) *client { return n.dial(t) },
	"half a handshake": func(n *node, t tester, _ string) *client {
		c := n.dial(t)
		c.write(upgrade(modes.PathCentrifuge).bytes()[:40])
		return c
	},
	"handshake not read": func(n *node, t tester, _ string) *client {
		c := n.dial(t)
		c.write(upgrade(modes.PathCentrifuge).bytes())
		return c
	},
	"before connect": func(n *node, t tester, _ string) *client { return n.open(t, modes.PathCentrifuge) },
	"half a header": func(n *node, t tester, _ string) *client {
		c := n.session(t, "news")
		c.write(encode(text("cut"))[:1])
		return c
	},
	"half a frame": func(n *node, t tester, _ string) *client {
		c := n.session(t, "news")
		c.write(encode(text(string(pattern(50_000))))[:20_000])
		return c
	},
	"half a message": func(n *node, t tester, _ string) *client {
		c := n.session(t, "news")
		c.send(frame{op: ws.OpText, body: pattern(20_000), more: true})
		return c
	},
	"connected": func(n *node, t tester, _ string) *client { return n.session(t) },
	"subscribed": func(n *node, t tester, _ string) *client {
		c := n.session(t, "a", "b", "c")
		c.subscribe("d")
		return c
	},
	"subscribe pending": func(n *node, t tester, held string) *client {
		c := n.session(t, "news")
		c.post(subscribeTo(held))
		return c
	},
	"subscribe and unsubscribe pending": func(n *node, t tester, held string) *client {
		c := n.session(t, "news")
		c.post(subscribeTo(held))
		c.post(unsubscribeFrom(held))
		return c
	},
	"connect pending": func(n *node, t tester, held string) *client {
		c := n.open(t, modes.PathCentrifuge)
		c.send(text(`{"id":1,"connect":{"subs":{"news":{},"` + held + `":{}}}}`))
		return c
	},
	"raw": func(n *node, t tester, _ string) *client { return n.open(t, modes.PathRaw+"?channel=a&channel=b") },
	"raw pending": func(n *node, t tester, held string) *client {
		c := n.dial(t)
		c.write(upgrade(modes.PathRaw + "?channel=a&channel=" + held).bytes())
		return c
	},
	"stream": func(n *node, t tester, _ string) *client {
		return n.openStream(t, modes.PathSSE+"?channel=a&channel=b")
	},
	"stream pending": func(n *node, t tester, held string) *client {
		c := n.dial(t)
		c.write(get(modes.PathStream + "?channel=a&channel=" + held).bytes())
		return c
	},
	"stream with more behind": func(n *node, t tester, _ string) *client {
		c := n.openStream(t, modes.PathStream+"?channel=a")
		c.write(get(modes.PathStream + "?channel=a").bytes())
		return c
	},
	"echo not read": func(n *node, t tester, _ string) *client {
		c := n.open(t, modes.PathEcho)
		c.send(binaryFrame(string(pattern(60_000))), binaryFrame(string(pattern(60_000))))
		return c
	},
	"close not answered": func(n *node, t tester, _ string) *client {
		c := n.session(t, "news")
		c.send(text("no command"))
		return c
	},
	"plain HTTP": func(n *node, t tester, _ string) *client {
		c := n.dial(t)
		c.write(plain("GET", "").bytes())
		return c
	},
	"half a plain POST": func(n *node, t tester, _ string) *client {
		c := n.dial(t)
		whole := plain("POST", "never all").bytes()
		c.write(whole[:len(whole)-3])
		return c
	},
	"full queue": func(n *node, t tester, _ string) *client {
		return n.fullQueue(t, func(c *client) { c.handshake(modes.PathRaw + "?channel=filled") })
	},
	"full queue of a stream": func(n *node, t tester, _ string) *client {
		return n.fullQueue(t, func(c *client) { c.openStream(modes.PathSSE + "?channel=filled") })
	},
}

// fullQueue returns a client for whom much waits.
func (n *node) fullQueue(t tester, open func(*client)) *client {
	// The healthy client sets the pace, so that the queue fills to less than
	// its bound.
	healthy := n.session(t, "filled")
	c := n.dialNarrow(t)
	open(c)
	for i := range mostToFill / slowPayload {
		n.bus.publish("filled", numbered(i))
		healthy.expectPush("filled", numbered(i))
		if n.stats.Queued.Load() > int64(n.limits.MaxQueuedBytes)/2 {
			healthy.leave()
			return c
		}
	}
	t.Fatalf("the queue never filled")
	return nil
}

func testVanish(t *testing.T, build Build) {
	n := start(t, build, nil)
	before := n.warmUp(t)
	for name, reach := range states {
		for way, vanish := range vanishing {
			t.Run(name+"/"+way, func(t *testing.T) {
				held := []string{"held-0", "held-1", "held-2"}
				release := n.bus.hold(held...)
				for i := range held {
					c := reach(n, t, held[i])
					if strings.HasSuffix(name, "pending") {
						n.bus.awaitWaiting(t, held[i])
					}
					vanish(c)
				}
				// The engine sees the end of the connections before that of
				// the wait.
				fence := n.session(t)
				fence.roundTrip()
				fence.leave()
				release(nil)
				n.settle(t)
				awaitUsage(t, before, spare)
			})
		}
	}
}

// warmUp returns the usage of a node that has served.
func (n *node) warmUp(t *testing.T) usage {
	t.Helper()
	for _, c := range n.inEveryState(t, "") {
		c.leave()
	}
	n.settle(t)
	return measure(t)
}

// churnRound brings clients in and lets them go in all ways.
func (n *node) churnRound(t *testing.T, clients, each int) {
	t.Helper()
	if n.secure {
		// Both ends' handshakes cost as much as all the rest.
		each /= 5
	}
	together(t, clients, func(t tester, i int) {
		for j := range each {
			c := n.dial(t)
			switch (i + j) % 7 {
			case 0:
				c.reset()
				continue
			case 1:
				c.write(upgrade(modes.PathCentrifuge).bytes()[:30])
				c.leave()
				continue
			case 2:
				c.handshake(modes.PathRaw + "?channel=news")
			case 6:
				c.openStream(modes.PathSSE + "?channel=news")
				if j%2 == 0 {
					c.leave()
				} else {
					c.reset()
				}
				continue
			case 3:
				c.handshake(modes.PathCentrifuge)
				c.connect("news", fmt.Sprintf("own %d", i))
				c.unsubscribe("news")
			default:
				c.handshake(modes.PathCentrifuge)
				c.connect()
				c.subscribe(fmt.Sprintf("own %d", j))
			}
			switch j % 3 {
			case 0:
				c.leave()
			case 1:
				c.reset()
			default:
				c.send(closing(1000, ""))
				c.expectCloseLater(1000)
				c.leave()
			}
		}
	})
	n.settle(t)
}

func testChurn(t *testing.T, build Build) {
	n := start(t, build, nil)
	before := n.warmUp(t)
	n.churnRound(t, 16, 150)
	awaitUsage(t, before, spare)
}

func testChurnFlow(t *testing.T, build Build) {
	n := start(t, build, nil)
	before := n.warmUp(t)
	publishers := []*publisher{n.publishAlways(t, "news"), n.publishAlways(t, "own 1"), n.publishAlways(t, "own 2")}
	n.churnRound(t, 16, 60)
	for _, p := range publishers {
		p.stop()
	}
	n.settle(t)
	awaitUsage(t, before, spare)
}

// A node that has stopped has given back everything, whatever was going on.
func testNodeStops(t *testing.T, build Build) {
	before := measure(t)
	t.Run("node", func(t *testing.T) {
		n := start(t, build, nil)
		release := n.bus.hold("held")
		t.Cleanup(func() { release(nil) })
		n.inEveryState(t, "held")
	})
	awaitUsage(t, before, 0)
}

// Redis answers after a tenth of a second: thousands of subscriptions are confirmed all
// the same, and no goroutine waits for any of them.
func testSubscribeFar(t *testing.T, build Build) {
	const many, each = 200, 20
	n := start(t, build, nil)
	clients := make([]*client, many)
	together(t, many, func(t tester, i int) { clients[i] = n.session(t) })
	channels := make([]string, 0, many*each)
	for i := range many {
		for k := range each {
			channels = append(channels, fmt.Sprintf("own %d %d", i, k))
		}
	}
	release := n.bus.hold(channels...)
	before := measure(t)
	ids := make([]uint32, many)
	for i, c := range clients {
		ids[i] = c.lastID + 1
		for k := range each {
			c.post(subscribeTo(channels[i*each+k]))
		}
	}
	await(t, "all subscriptions to be with the bus", func() (bool, string) {
		waiting := n.bus.waitingSubscribes()
		return waiting == many*each, fmt.Sprint(waiting)
	})
	awaitUsage(t, before, spare)
	// Others are served meanwhile.
	near := n.session(t)
	near.subscribe("near")
	time.AfterFunc(100*time.Millisecond, func() { release(nil) })
	for i, c := range clients {
		for k := range each {
			if r := c.reply(ids[i] + uint32(k)); r.Subscribe == nil {
				t.Fatalf("client %d: got %s, want the reply to subscribe %d", i, show(r), k)
			}
		}
		n.bus.publish(channels[i*each], "1")
		c.expectPush(channels[i*each], "1")
		c.leave()
	}
	near.leave()
	n.settle(t)
}

package enginetest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
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

func measure(t kit.Tester) usage {
	t.Helper()
	return usage{kit.Descriptors(t), runtime.NumGoroutine()}
}

// spare is how many goroutines an engine may keep for later, beside those that
// it had: a pool that grows with the load and is bounded.
const spare = 40

// awaitUsage waits until no more descriptors are open than before, and no more
// goroutines run than before and are kept for later.
func awaitUsage(t kit.Tester, before usage, spare int) {
	t.Helper()
	kit.Await(t, fmt.Sprintf("descriptors and goroutines back to %+v", before), func() (bool, string) {
		now := measure(t)
		return now.descriptors <= before.descriptors && now.goroutines <= before.goroutines+spare, fmt.Sprintf("%+v", now)
	})
}

// vanishing is one way for clients to be gone.
var vanishing = map[string]func(c *kit.Client){
	"FIN":   func(c *kit.Client) { c.Leave() },
	"reset": func(c *kit.Client) { c.Reset() },
	"half closed, then FIN": func(c *kit.Client) {
		_ = c.Conn.CloseWrite()
		c.Leave()
	},
}

// states are the states in which a client vanishes. Each opens a client and
// brings it there; held is a channel whose confirmation is held.
var states = map[string]func(n *kit.Node, t kit.Tester, held string) *kit.Client{
	"before the handshake": func(n *kit.Node, t kit.Tester, _ string) *kit.Client { return n.Dial(t) },
	"half a handshake": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.Dial(t)
		c.Write(kit.Upgrade(modes.PathCentrifuge).Bytes()[:40])
		return c
	},
	"handshake not read": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.Dial(t)
		c.Write(kit.Upgrade(modes.PathCentrifuge).Bytes())
		return c
	},
	"before connect": func(n *kit.Node, t kit.Tester, _ string) *kit.Client { return n.Open(t, modes.PathCentrifuge) },
	"half a header": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.Session(t, "news")
		c.Write(kit.Encode(kit.Text("cut"))[:1])
		return c
	},
	"half a frame": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.Session(t, "news")
		c.Write(kit.Encode(kit.Text(string(pattern(50_000))))[:20_000])
		return c
	},
	"half a message": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.Session(t, "news")
		c.Send(kit.Frame{Op: ws.OpText, Body: pattern(20_000), More: true})
		return c
	},
	"connected": func(n *kit.Node, t kit.Tester, _ string) *kit.Client { return n.Session(t) },
	"subscribed": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.Session(t, "a", "b", "c")
		c.Subscribe("d")
		return c
	},
	"subscribe pending": func(n *kit.Node, t kit.Tester, held string) *kit.Client {
		c := n.Session(t, "news")
		c.Post(subscribeTo(held))
		return c
	},
	"subscribe and unsubscribe pending": func(n *kit.Node, t kit.Tester, held string) *kit.Client {
		c := n.Session(t, "news")
		c.Post(subscribeTo(held))
		c.Post(unsubscribeFrom(held))
		return c
	},
	"connect pending": func(n *kit.Node, t kit.Tester, held string) *kit.Client {
		c := n.Open(t, modes.PathCentrifuge)
		c.Send(kit.Text(`{"id":1,"connect":{"subs":{"news":{},"` + held + `":{}}}}`))
		return c
	},
	"raw": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		return n.Open(t, modes.PathRaw+"?channel=a&channel=b")
	},
	"raw pending": func(n *kit.Node, t kit.Tester, held string) *kit.Client {
		c := n.Dial(t)
		c.Write(kit.Upgrade(modes.PathRaw + "?channel=a&channel=" + held).Bytes())
		return c
	},
	"stream": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		return n.OpenStream(t, modes.PathSSE+"?channel=a&channel=b")
	},
	"stream pending": func(n *kit.Node, t kit.Tester, held string) *kit.Client {
		c := n.Dial(t)
		c.Write(kit.Get(modes.PathStream + "?channel=a&channel=" + held).Bytes())
		return c
	},
	"stream with more behind": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.OpenStream(t, modes.PathStream+"?channel=a")
		c.Write(kit.Get(modes.PathStream + "?channel=a").Bytes())
		return c
	},
	"echo not read": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.Open(t, modes.PathEcho)
		c.Send(kit.BinaryFrame(string(pattern(60_000))), kit.BinaryFrame(string(pattern(60_000))))
		return c
	},
	"close not answered": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.Session(t, "news")
		c.Send(kit.Text("no command"))
		return c
	},
	"plain HTTP": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.Dial(t)
		c.Write(kit.Plain("GET", "").Bytes())
		return c
	},
	"half a plain POST": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		c := n.Dial(t)
		whole := kit.Plain("POST", "never all").Bytes()
		c.Write(whole[:len(whole)-3])
		return c
	},
	"full queue": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		return fullQueue(n, t, func(c *kit.Client) { c.Handshake(modes.PathRaw + "?channel=filled") })
	},
	"full queue of a stream": func(n *kit.Node, t kit.Tester, _ string) *kit.Client {
		return fullQueue(n, t, func(c *kit.Client) { c.OpenStream(modes.PathSSE + "?channel=filled") })
	},
}

// fullQueue returns a client for whom much waits.
func fullQueue(n *kit.Node, t kit.Tester, open func(*kit.Client)) *kit.Client {
	// The healthy client sets the pace, so that the queue fills to less than
	// its bound.
	healthy := n.Session(t, "filled")
	c := n.DialNarrow(t)
	open(c)
	for i := range mostToFill / slowPayload {
		n.Bus.Send("filled", numbered(i))
		healthy.ExpectPush("filled", numbered(i))
		if n.Stats.Queued.Load() > int64(n.Limits.MaxQueuedBytes)/2 {
			healthy.Leave()
			return c
		}
	}
	t.Fatalf("the queue never filled")
	return nil
}

func testVanish(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	before := warmUp(n, t)
	for name, reach := range states {
		for way, vanish := range vanishing {
			t.Run(name+"/"+way, func(t *testing.T) {
				held := []string{"held-0", "held-1", "held-2"}
				release := n.Bus.Hold(held...)
				for i := range held {
					c := reach(n, t, held[i])
					if strings.HasSuffix(name, "pending") {
						n.Bus.AwaitWaiting(t, held[i])
					}
					vanish(c)
				}
				// The engine sees the end of the connections before that of
				// the wait.
				fence := n.Session(t)
				fence.RoundTrip()
				fence.Leave()
				release(nil)
				n.Settle(t)
				awaitUsage(t, before, spare)
			})
		}
	}
}

// warmUp returns the usage of a node that has served.
func warmUp(n *kit.Node, t *testing.T) usage {
	t.Helper()
	for _, c := range inEveryState(n, t, "") {
		c.Leave()
	}
	n.Settle(t)
	return measure(t)
}

// churnRound brings clients in and lets them go in all ways.
func churnRound(n *kit.Node, t *testing.T, clients, each int) {
	t.Helper()
	if n.Secure {
		// Both ends' handshakes cost as much as all the rest.
		each /= 5
	}
	kit.Together(t, clients, func(t kit.Tester, i int) {
		for j := range each {
			c := n.Dial(t)
			switch (i + j) % 7 {
			case 0:
				c.Reset()
				continue
			case 1:
				c.Write(kit.Upgrade(modes.PathCentrifuge).Bytes()[:30])
				c.Leave()
				continue
			case 2:
				c.Handshake(modes.PathRaw + "?channel=news")
			case 6:
				c.OpenStream(modes.PathSSE + "?channel=news")
				if j%2 == 0 {
					c.Leave()
				} else {
					c.Reset()
				}
				continue
			case 3:
				c.Handshake(modes.PathCentrifuge)
				c.Connect("news", fmt.Sprintf("own %d", i))
				c.Unsubscribe("news")
			default:
				c.Handshake(modes.PathCentrifuge)
				c.Connect()
				c.Subscribe(fmt.Sprintf("own %d", j))
			}
			switch j % 3 {
			case 0:
				c.Leave()
			case 1:
				c.Reset()
			default:
				c.Send(kit.Closing(1000, ""))
				c.ExpectCloseLater(1000)
				c.Leave()
			}
		}
	})
	n.Settle(t)
}

func testChurn(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	before := warmUp(n, t)
	churnRound(n, t, 16, 150)
	awaitUsage(t, before, spare)
}

func testChurnFlow(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	before := warmUp(n, t)
	publishers := []*kit.Publisher{n.PublishAlways(t, "news"), n.PublishAlways(t, "own 1"), n.PublishAlways(t, "own 2")}
	churnRound(n, t, 16, 60)
	for _, p := range publishers {
		p.Stop()
	}
	n.Settle(t)
	awaitUsage(t, before, spare)
}

// A node that has stopped has given back everything, whatever was going on.
func testNodeStops(t *testing.T, build kit.Build) {
	before := measure(t)
	t.Run("node", func(t *testing.T) {
		n := kit.Start(t, build, nil)
		release := n.Bus.Hold("held")
		t.Cleanup(func() { release(nil) })
		inEveryState(n, t, "held")
	})
	awaitUsage(t, before, 0)
}

// Redis answers after a tenth of a second: thousands of subscriptions are confirmed all
// the same, and no goroutine waits for any of them.
func testSubscribeFar(t *testing.T, build kit.Build) {
	const many, each = 200, 20
	n := kit.Start(t, build, nil)
	clients := make([]*kit.Client, many)
	kit.Together(t, many, func(t kit.Tester, i int) { clients[i] = n.Session(t) })
	channels := make([]string, 0, many*each)
	for i := range many {
		for k := range each {
			channels = append(channels, fmt.Sprintf("own %d %d", i, k))
		}
	}
	release := n.Bus.Hold(channels...)
	before := measure(t)
	ids := make([]uint32, many)
	for i, c := range clients {
		ids[i] = c.LastID + 1
		for k := range each {
			c.Post(subscribeTo(channels[i*each+k]))
		}
	}
	kit.Await(t, "all subscriptions to be with the bus", func() (bool, string) {
		waiting := n.Bus.WaitingSubscribes()
		return waiting == many*each, fmt.Sprint(waiting)
	})
	awaitUsage(t, before, spare)
	// Others are served meanwhile.
	near := n.Session(t)
	near.Subscribe("near")
	time.AfterFunc(100*time.Millisecond, func() { release(nil) })
	for i, c := range clients {
		for k := range each {
			if r := c.Reply(ids[i] + uint32(k)); r.Subscribe == nil {
				t.Fatalf("client %d: got %s, want the reply to subscribe %d", i, kit.Show(r), k)
			}
		}
		n.Bus.Send(channels[i*each], "1")
		c.ExpectPush(channels[i*each], "1")
		c.Leave()
	}
	near.Leave()
	n.Settle(t)
}

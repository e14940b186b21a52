package fault_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/redisserver"
	"github.com/tandem-ws/tandem/compare/workload"
	"github.com/tandem-ws/tandem/reliability/client"
	"github.com/tandem-ws/tandem/reliability/fault"
)

// stage is what a fault of Redis affects.
type stage struct {
	redis   *redisserver.Server
	link    *fault.Link
	network *fault.Network // nil if there is none
	server  *node.Node
	pool    *client.Pool
}

// breaks are the faults that end the link to Redis.
var breaks = []struct {
	name         string
	network      bool // in a network of its own
	inject, heal func(s *stage) error
}{
	{"killed and restarted empty", false,
		func(s *stage) error { return s.redis.Kill() },
		func(s *stage) error { return s.redis.Restart() }},
	{"paused", false,
		func(s *stage) error { return s.redis.Pause() },
		func(s *stage) error { return s.redis.Resume() }},
	{"half-open", false,
		func(s *stage) error { s.link.Hold(); return nil },
		func(s *stage) error { s.link.Heal(); return nil }},
	{"packets dropped", true,
		func(s *stage) error { return s.network.Drop() },
		func(s *stage) error { return s.network.Heal() }},
}

// When the link to Redis breaks, the node reports it, keeps its clients, tells them,
// and resubscribes everything; and the messages that were lost are exactly those that
// were announced.
func TestLinkBreaks(t *testing.T) {
	for _, b := range breaks {
		t.Run(b.name, func(t *testing.T) {
			forEachMode(t, func(t *testing.T, mode string) {
				const clients = 50
				var s stage
				at, safe := "", ""
				if b.network {
					network, err := fault.NewNetwork()
					if errors.Is(err, fault.ErrNoNetwork) {
						t.Skipf("%v (the case half-open shows the same with a relay)", err)
					}
					must(t, err)
					t.Cleanup(func() {
						if err := network.Close(); err != nil {
							t.Error(err)
						}
					})
					s.network, at, safe = network, network.Addr, network.Safe
				} else {
					s.redis = startRedis(t)
					s.link = startLink(t, s.redis.Addr())
					at, safe = s.link.Addr(), s.redis.Addr()
				}
				s.server = startNode(t, node.Options{Mode: mode, Redis: at})
				p := workload.NewPersistent(workload.Options{URL: "redis://" + safe, Channel: channel, Channels: channels})
				s.pool = startPool(t, clients, p, s.server.Options.Public)
				stop := publishing(t, p)
				awaitReceived(t, s.pool, 500)

				must(t, b.inject(&s))
				began := time.Now()
				must(t, s.server.AwaitReady(within(t), false))
				t.Logf("not ready after %v", time.Since(began).Round(time.Millisecond))
				// One broken connection is enough for that. If the fault were healed
				// now, the others would not have noticed.
				await(t, "every connection to Redis to be given up", func() bool {
					m, err := s.server.Metrics(within(t))
					must(t, err)
					return m.Sum("tandem_redis_link_up") == 0
				})
				t.Logf("every connection to Redis was given up after %v", time.Since(began).Round(time.Millisecond))
				if status, _, err := s.server.Ask(within(t), "/healthz"); err != nil || status != 200 {
					t.Errorf("/healthz: %d, %v, want 200: it lives", status, err)
				}
				must(t, b.heal(&s))
				began = time.Now()
				must(t, s.server.AwaitReady(within(t), true))
				t.Logf("ready again after %v", time.Since(began).Round(time.Millisecond))
				await(t, "every subscription to be ended", func() bool { return s.pool.Counters().Gaps >= clients }, s.pool)
				must(t, s.pool.AwaitJoined(within(t)))
				t.Logf("everybody subscribed again after %v", time.Since(began).Round(time.Millisecond))
				awaitReceived(t, s.pool, 500)
				stop()
				// each channel once more, so that the last message of each is known
				must(t, p.Publish(within(t), workload.Plan{Count: channels, Size: size}))
				must(t, s.pool.Settle(within(t)))

				counters := s.pool.Counters()
				if !counters.Clean() {
					t.Errorf("%s", strings.Join(counters.Faults, "\n"))
				}
				if len(counters.Ended) > 0 || counters.Connected != clients {
					t.Errorf("connections ended: %v; %d were made, want %d", counters.Ended, counters.Connected, clients)
				}
				if counters.Announced == 0 {
					t.Error("nothing was lost: the fault has not happened")
				}
				// each message goes to the clients of its channel
				if due := int64(p.Total()) * clients / channels; counters.Received+counters.Announced != due {
					t.Errorf("%d received and %d announced as lost, %d in all, want %d",
						counters.Received, counters.Announced, counters.Received+counters.Announced, due)
				}
			})
		})
	}
}

// A slow link is not a broken link.
func TestLinkSlow(t *testing.T) {
	forEachMode(t, func(t *testing.T, mode string) {
		const clients = 20
		redis := startRedis(t)
		link := startLink(t, redis.Addr())
		server := startNode(t, node.Options{Mode: mode, Redis: link.Addr()}, "HEARTBEAT_TIMEOUT=30s")
		p := workload.NewPersistent(workload.Options{URL: redis.URL(), Channel: channel, Channels: channels})
		pool := startPool(t, clients, p, server.Options.Public)
		stop := publishing(t, p)
		link.Slow(100 * time.Millisecond)
		awaitReceived(t, pool, 500)
		// subscribing takes longer but does not fail
		late := startPool(t, clients, p, server.Options.Public)
		must(t, server.AwaitReady(within(t), true))
		stop()
		must(t, errors.Join(pool.Settle(within(t)), late.Settle(within(t))))
		for _, c := range []*client.Pool{pool, late} {
			if counters := c.Counters(); !counters.Clean() || counters.Announced+counters.Gaps+counters.Refused > 0 {
				t.Errorf("on a slow link: %+v", counters)
			}
		}
	})
}

// While Redis refuses, a client that subscribes is told to try again, and does.
func TestRedisRefuses(t *testing.T) {
	forEachMode(t, func(t *testing.T, mode string) {
		redis := startRedis(t)
		server := startNode(t, node.Options{Mode: mode, Redis: redis.Addr()})
		must(t, redis.Kill())
		must(t, server.AwaitReady(within(t), false))
		p := workload.NewPersistent(workload.Options{URL: redis.URL(), Channel: channel, Channels: channels})
		pool := client.New(client.Options{
			Targets: []string{server.Options.Public}, Channel: channel, Channels: channels, Each: 1, Published: p.Last,
			MinDelay: 50 * time.Millisecond, MaxDelay: time.Second,
		})
		t.Cleanup(pool.Close)
		must(t, pool.Start(within(t), 20, 0))
		await(t, "refusals", func() bool { return pool.Counters().Refused >= 40 })
		if n := pool.Joined(); n > 0 {
			t.Errorf("%d clients are subscribed without Redis", n)
		}
		must(t, redis.Restart())
		must(t, server.AwaitReady(within(t), true))
		must(t, pool.AwaitJoined(within(t)))
		must(t, p.Publish(within(t), workload.Plan{Count: 100, Size: size}))
		must(t, pool.Settle(within(t)))
		if counters := pool.Counters(); !counters.Clean() || counters.Received != 200 || len(counters.Ended) > 0 {
			t.Errorf("%+v, want 200 received and no connection ended", counters)
		}
	})
}

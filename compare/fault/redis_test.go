package fault_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/compare/fault"
	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/publish"
	"github.com/tandem-ws/tandem/compare/witness"
)

// stage is what a fault of Redis has to do with.
type stage struct {
	redis   *fault.Redis
	link    *fault.Link
	network *fault.Network // nil where there is none
	server  *node.Node
	crew    *witness.Crew
}

// breaks are the faults that end the link to Redis.
var breaks = []struct {
	name       string
	network    bool // in a network of its own
	hurt, heal func(s *stage) error
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

// When the link to Redis breaks, the node says so, keeps its clients, tells
// them, and has everything subscribed again; and what was lost is what was
// announced, to the message.
func TestLinkBreaks(t *testing.T) {
	for _, b := range breaks {
		t.Run(b.name, func(t *testing.T) {
			forEachMode(t, func(t *testing.T, mode string) {
				const witnesses = 50
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
				p := publish.NewPersistent(publish.Options{URL: "redis://" + safe, Channel: channel, Channels: channels})
				s.crew = startCrew(t, witnesses, p, s.server.Options.Public)
				stop := publishing(t, p)
				awaitReceived(t, s.crew, 500)

				must(t, b.hurt(&s))
				began := time.Now()
				must(t, s.server.AwaitReady(within(t), false))
				t.Logf("not ready after %v", time.Since(began).Round(time.Millisecond))
				// One connection is enough for that. If it was healed now, the others would
				// have noticed nothing.
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
				await(t, "every subscription to be ended", func() bool { return s.crew.Tally().Gaps >= witnesses }, s.crew)
				must(t, s.crew.AwaitJoined(within(t)))
				t.Logf("everybody subscribed again after %v", time.Since(began).Round(time.Millisecond))
				awaitReceived(t, s.crew, 500)
				stop()
				// every channel once more, so that nobody waits for what was never sent
				must(t, p.Publish(within(t), publish.Plan{Count: channels, Size: size}))
				must(t, s.crew.Settle(within(t)))

				tally := s.crew.Tally()
				if !tally.Clean() {
					t.Errorf("%s", strings.Join(tally.Faults, "\n"))
				}
				if len(tally.Ended) > 0 || tally.Connected != witnesses {
					t.Errorf("connections ended: %v; %d were made, want %d", tally.Ended, tally.Connected, witnesses)
				}
				if tally.Announced == 0 {
					t.Error("nothing was lost: the fault has not happened")
				}
				// each message is for the witnesses of its channel
				if due := int64(p.Total()) * witnesses / channels; tally.Received+tally.Announced != due {
					t.Errorf("%d received and %d announced as lost, %d in all, want %d",
						tally.Received, tally.Announced, tally.Received+tally.Announced, due)
				}
			})
		})
	}
}

// A link that is slow is no link that is broken.
func TestLinkSlow(t *testing.T) {
	forEachMode(t, func(t *testing.T, mode string) {
		const witnesses = 20
		redis := startRedis(t)
		link := startLink(t, redis.Addr())
		server := startNode(t, node.Options{Mode: mode, Redis: link.Addr()}, "HEARTBEAT_TIMEOUT=30s")
		p := publish.NewPersistent(publish.Options{URL: redis.URL(), Channel: channel, Channels: channels})
		crew := startCrew(t, witnesses, p, server.Options.Public)
		stop := publishing(t, p)
		link.Slow(100 * time.Millisecond)
		awaitReceived(t, crew, 500)
		// subscribing takes longer, and does not fail
		late := startCrew(t, witnesses, p, server.Options.Public)
		must(t, server.AwaitReady(within(t), true))
		stop()
		must(t, errors.Join(crew.Settle(within(t)), late.Settle(within(t))))
		for _, c := range []*witness.Crew{crew, late} {
			if tally := c.Tally(); !tally.Clean() || tally.Announced+tally.Gaps+tally.Deferred > 0 {
				t.Errorf("on a slow link: %+v", tally)
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
		p := publish.NewPersistent(publish.Options{URL: redis.URL(), Channel: channel, Channels: channels})
		crew := witness.New(witness.Options{
			Targets: []string{server.Options.Public}, Channel: channel, Channels: channels, Each: 1, Published: p.Last,
			MinDelay: 50 * time.Millisecond, MaxDelay: time.Second,
		})
		t.Cleanup(crew.Close)
		must(t, crew.Start(within(t), 20, 0))
		await(t, "refusals", func() bool { return crew.Tally().Deferred >= 40 })
		if n := crew.Joined(); n > 0 {
			t.Errorf("%d witnesses are subscribed without Redis", n)
		}
		must(t, redis.Restart())
		must(t, server.AwaitReady(within(t), true))
		must(t, crew.AwaitJoined(within(t)))
		must(t, p.Publish(within(t), publish.Plan{Count: 100, Size: size}))
		must(t, crew.Settle(within(t)))
		if tally := crew.Tally(); !tally.Clean() || tally.Received != 200 || len(tally.Ended) > 0 {
			t.Errorf("%+v, want 200 received and no connection ended", tally)
		}
	})
}

package fault_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/compare/fault"
	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/publish"
	"github.com/tandem-ws/tandem/compare/witness"
)

// These tests run the real server, redis-server and witnesses, in each mode. They
// wait for conditions; how long those took they log (go test -v).

const (
	patience = 60 * time.Second
	channel  = "fault-%d"
	channels = 10
	size     = 128
	rate     = 300
	// A link to Redis that answers nothing is noticed within the sum.
	heartbeatInterval, heartbeatTimeout = 300 * time.Millisecond, 600 * time.Millisecond
)

// forEachMode runs a test for both engines at once.
func forEachMode(t *testing.T, test func(t *testing.T, mode string)) {
	t.Parallel()
	for _, mode := range node.Modes() {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			test(t, mode)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within is a context of patience.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// startNode starts the server; env are settings beside those of all tests.
func startNode(t *testing.T, o node.Options, env ...string) *node.Node {
	t.Helper()
	o.Program, o.Stderr = program, t.Output()
	o.Env = append([]string{
		"HEARTBEAT_INTERVAL=" + heartbeatInterval.String(), "HEARTBEAT_TIMEOUT=" + heartbeatTimeout.String(),
		"DRAIN_TIME=0s", "LOG_LEVEL=error",
	}, env...)
	n, err := node.StartReady(within(t), o)
	must(t, err)
	t.Cleanup(func() {
		if err := n.Stop(20 * time.Second); err != nil {
			t.Errorf("the server ended badly: %v", err)
		}
	})
	return n
}

func startRedis(t *testing.T) *fault.Redis {
	t.Helper()
	r, err := fault.StartRedis()
	must(t, err)
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func startLink(t *testing.T, target string) *fault.Link {
	t.Helper()
	l, err := fault.NewLink(target)
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// startCrew starts witnesses and waits until they are subscribed.
func startCrew(t *testing.T, n int, p *publish.Persistent, targets ...string) *witness.Crew {
	t.Helper()
	crew := witness.New(witness.Options{
		Targets: targets, Channel: channel, Channels: channels, Each: 1, Published: p.Last,
		MinDelay: 50 * time.Millisecond, MaxDelay: time.Second,
		From: net.IPv4(127, 0, 4, 1), Sources: 4,
	})
	t.Cleanup(crew.Close)
	must(t, crew.Start(within(t), n, 0))
	must(t, crew.AwaitJoined(within(t)))
	return crew
}

// publishing publishes until the returned function is called.
func publishing(t *testing.T, p *publish.Persistent) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Publish(ctx, publish.Plan{Rate: rate, Size: size, Order: publish.Random}) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// awaitReceived waits until the witnesses have received n messages more.
func awaitReceived(t *testing.T, crew *witness.Crew, n int64) {
	t.Helper()
	n += crew.Tally().Received
	await(t, fmt.Sprintf("%d messages", n), func() bool { return crew.Tally().Received >= n })
}

func await(t *testing.T, what string, done func() bool, crews ...*witness.Crew) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			for _, crew := range crews {
				t.Logf("of %d witnesses %d are subscribed: %+v", crew.Size(), crew.Joined(), crew.Tally())
			}
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

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

// After a crash under load, clients come back no faster than CONNECT_RATE lets
// them.
func TestServerKilled(t *testing.T) {
	forEachMode(t, func(t *testing.T, mode string) {
		const witnesses, connectRate = 250, 100
		redis := startRedis(t)
		o := node.Options{Mode: mode, Redis: redis.Addr()}
		p := publish.NewPersistent(publish.Options{URL: redis.URL(), Channel: channel, Channels: channels})
		first := startNode(t, o)
		crew := startCrew(t, witnesses, p, first.Options.Public)
		stop := publishing(t, p)
		awaitReceived(t, crew, 1000)

		must(t, first.Signal(syscall.SIGKILL))
		<-first.Done()
		await(t, "everybody to notice", func() bool { return crew.Joined() == 0 })
		o.Public, o.Internal = first.Options.Public, first.Options.Internal
		began := time.Now()
		second := startNode(t, o, fmt.Sprintf("CONNECT_RATE=%d", connectRate))
		must(t, crew.AwaitJoined(within(t)))
		took := time.Since(began)
		m, err := second.Metrics(within(t))
		must(t, err)
		t.Logf("%d witnesses were back after %v, %g handshakes refused", witnesses, took.Round(time.Millisecond), m.Count("tandem_handshake_failures_total"))
		// a second's worth may come at once
		if most := connectRate * (took.Seconds() + 1); m.Count("tandem_handshakes_total") > most {
			t.Errorf("%g handshakes in %v, want no more than %g", m.Count("tandem_handshakes_total"), took, most)
		}
		if m.Count("tandem_handshake_failures_total") == 0 {
			t.Error("no handshake was refused: the rate was not put to the test")
		}
		awaitReceived(t, crew, 1000)
		stop()
		must(t, p.Publish(within(t), publish.Plan{Count: channels, Size: size}))
		must(t, crew.Settle(within(t)))
		if tally := crew.Tally(); !tally.Clean() {
			t.Errorf("%s", strings.Join(tally.Faults, "\n"))
		}
	})
}

// When descriptors run out, those who are in stay in and miss nothing, and
// when there are some again, others come in.
func TestDescriptorsExhausted(t *testing.T) {
	forEachMode(t, func(t *testing.T, mode string) {
		const witnesses, limit, silent = 50, 200, 400
		redis := startRedis(t)
		server := startNode(t, node.Options{
			Mode: mode, Redis: redis.Addr(), Wrap: []string{"sh", "-c", fmt.Sprintf("ulimit -n %d && exec \"$0\"", limit)},
		}, "HANDSHAKE_TIMEOUT=10m")
		p := publish.NewPersistent(publish.Options{URL: redis.URL(), Channel: channel, Channels: channels})
		crew := startCrew(t, witnesses, p, server.Options.Public)
		stop := publishing(t, p)

		// connections that say nothing: each is a descriptor
		var held []net.Conn
		defer func() {
			for _, conn := range held {
				_ = conn.Close()
			}
		}()
		for range silent {
			conn, err := net.DialTimeout("tcp", server.Options.Public, patience)
			must(t, err) // the kernel makes it, whether the server takes it or not
			held = append(held, conn)
		}
		descriptors := func() int {
			all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", server.PID()))
			must(t, err)
			return len(all)
		}
		await(t, "descriptors to run out", func() bool { return descriptors() >= limit })
		awaitReceived(t, crew, 2000)
		if n := descriptors(); n < limit {
			t.Errorf("%d descriptors are open, want %d: they had not run out", n, limit)
		}
		late := witness.New(witness.Options{
			Targets: []string{server.Options.Public}, Channel: channel, Channels: channels, Each: 1, Published: p.Last,
		})
		t.Cleanup(late.Close)
		must(t, late.Start(within(t), 10, 0))
		for _, conn := range held {
			_ = conn.Close()
		}
		began := time.Now()
		must(t, late.AwaitJoined(within(t)))
		t.Logf("new connections were in %v after there was room", time.Since(began).Round(time.Millisecond))
		stop()
		must(t, errors.Join(crew.Settle(within(t)), late.Settle(within(t))))
		tally := crew.Tally()
		if !tally.Clean() || len(tally.Ended) > 0 || tally.Connected != witnesses {
			t.Errorf("those who were in: %+v", tally)
		}
		m, err := server.Metrics(within(t))
		must(t, err)
		if m.Count("tandem_accept_cooldowns_total") == 0 {
			t.Error("no cooldown was counted")
		}
	})
}

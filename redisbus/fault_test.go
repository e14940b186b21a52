package redisbus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-ws/tandem/redisbus/redistest"
)

// TestKillAndRestart: Redis dies and comes back empty. Exactly the channels that
// are held are reported, each once, and messages flow again.
func TestKillAndRestart(t *testing.T) {
	s := redistest.Start(t)
	r := newRecorder()
	bus := startBus(t, s.URL(), r, Options{Connections: 2, Prefix: "p:"})
	want := map[string]int{}
	var channels []string
	for i := range 3 * maxBatch {
		channels = append(channels, fmt.Sprint("c", i))
		want[channels[i]] = 1
	}
	subscribeAll(t, bus, channels)
	mustSubscribe(t, bus, "left before", "left during", "c0")
	bus.Unsubscribe("left before")

	s.Kill()
	awaitDown(t, bus)
	if err := subscribeTo(bus, "c0"); !errors.Is(err, ErrNotConnected) {
		t.Errorf("subscribe without Redis: %v", err)
	}
	bus.Unsubscribe("left during")
	if n := len(r.losses()); n != 0 {
		t.Errorf("%d channels reported before Redis is back", n)
	}

	s.Restart()
	awaitReady(t, bus)
	if got := r.losses(); !maps.Equal(got, want) {
		t.Errorf("%d channels reported, want %d once each", len(got), len(want))
	}
	joins := s.Calls("subscribe")
	if joins < 2 || joins > 8 {
		t.Errorf("%d SUBSCRIBE to subscribe again to %d channels over 2 connections", joins, len(channels))
	}
	for _, channel := range channels {
		if n := s.Publish("p:"+channel, "again"); n != 1 {
			t.Fatalf("%s has %d subscribers", channel, n)
		}
	}
	for _, channel := range channels {
		await(t, "message after the restart", func() bool { return slices.Equal(r.on(channel), []string{"again"}) })
	}
	if got := len(s.Channels()); got != len(channels) {
		t.Errorf("%d channels in Redis, want %d", got, len(channels))
	}
	for i, link := range bus.Stats().Links {
		if link.Connects != 2 || link.PendingGaps != 0 || link.LastDownCause != "" {
			t.Errorf("link %d: %+v", i, link)
		}
	}
}

// TestOneConnectionAfterABreak: go-redis, which reconnects by itself and then
// subscribes to everything in one command, is kept from doing so.
func TestOneConnectionAfterABreak(t *testing.T) {
	s := redistest.Start(t)
	bus := startBus(t, s.URL(), newRecorder(), Options{})
	mustSubscribe(t, bus, "a")
	connections := func() (n int) {
		t.Helper()
		info := s.Client().Info(t.Context(), "stats").Val()
		_, rest, _ := strings.Cut(info, "total_connections_received:")
		if _, err := fmt.Sscan(rest, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before, joins := connections(), s.Calls("subscribe")
	if err := s.Client().Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	await(t, "bus is ready again", func() bool { return bus.Ready() == nil && bus.Stats().Links[0].Connects == 2 })
	if made, joined := connections()-before, s.Calls("subscribe")-joins; made != 1 || joined != 2 {
		t.Errorf("%d connections and %d SUBSCRIBE, want one, and one for the probe and one for the channel", made, joined)
	}
}

// TestLostComesBeforeLaterMessages: when the receiver sees the first message
// after a gap, it has been told of the gap.
func TestLostComesBeforeLaterMessages(t *testing.T) {
	s := redistest.Start(t)
	r := newRecorder()
	bus := startBus(t, s.URL(), r, Options{})
	mustSubscribe(t, bus, "a")
	for round := 1; round <= 5; round++ {
		s.Restart()
		// As early as Redis has the subscription again.
		await(t, "a message is taken", func() bool { return s.Publish("a", "later") == 1 })
		await(t, "the message arrives", func() bool { return len(r.on("a")) == round })
		if n := r.losses()["a"]; n != round {
			t.Fatalf("%d losses reported when the first message after break %d arrived", n, round)
		}
	}
}

// TestPausedRedis: a Redis that holds the connections and answers nothing is
// found out by the heartbeat, on the Pub/Sub and on the command link.
func TestPausedRedis(t *testing.T) {
	s := redistest.Start(t)
	r := newRecorder()
	bus := startBus(t, s.URL(), r, Options{
		Connections: 2, HeartbeatInterval: 50 * time.Millisecond, HeartbeatTimeout: 200 * time.Millisecond,
	})
	channels := []string{"a", "b", "c", "d", "e", "f"}
	mustSubscribe(t, bus, channels...)
	s.Pause()
	awaitDown(t, bus)
	await(t, "the command link is down", func() bool { return !bus.Stats().CommandLinkUp })
	done := make(chan error, 1)
	bus.Publish("a", []byte("x"), func(err error) { done <- err })
	if err := <-done; !errors.Is(err, ErrNotConnected) {
		t.Errorf("publish to a paused Redis: %v", err)
	}
	if err := subscribeTo(bus, "a"); !errors.Is(err, ErrNotConnected) {
		t.Errorf("subscribe to a paused Redis: %v", err)
	}
	s.Resume()
	awaitReady(t, bus)
	for _, channel := range channels {
		// A machine so busy that Redis is paused long enough by itself may add
		// a break of its own.
		if n := r.losses()[channel]; n < 1 {
			t.Errorf("%s is not reported", channel)
		}
		await(t, "message after the pause", func() bool {
			s.Publish(channel, "again")
			return len(r.on(channel)) > 0
		})
	}
}

// TestAwait: an answer that is late because much else stands before it is no
// sign of a broken link; silence is, and so is an answer that never comes.
func TestAwait(t *testing.T) {
	const limit, most = 3 * time.Second, stallLimit * 3 * time.Second
	steadily := func(n int) (at []time.Duration) {
		for i := range n {
			at = append(at, time.Duration(i+1)*2*time.Second)
		}
		return at
	}
	// When the kernel of a sender asks for room, from 2.9 s before the command on.
	var probed []time.Duration
	for i, probe := 0, 200*time.Millisecond; i < 8; i++ {
		if at := probe - 2900*time.Millisecond; at > 0 {
			probed = append(probed, at)
		}
		probe = 2*probe + 200*time.Millisecond
	}
	for name, tc := range map[string]struct {
		publications []time.Duration
		answered     time.Duration // 0: never
		want         error
		after        time.Duration
	}{
		"answered":                 {nil, time.Second, nil, time.Second},
		"silence":                  {nil, 0, errUnanswered, limit},
		"late, after a burst":      {steadily(10), 20 * time.Second, nil, 20 * time.Second},
		"silence after a bit":      {steadily(2), 0, errUnanswered, 5*limit + limit/2},
		"silence that doubles":     {probed, 48200 * time.Millisecond, nil, 48200 * time.Millisecond},
		"everything but this":      {steadily(1000), 0, errUnanswered, most},
		"almost as late as can be": {steadily(1000), most - 1, nil, most - 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &link{
					opts:     &Options{HeartbeatTimeout: limit},
					epoch:    time.Now(),
					answered: make(chan struct{}, 1),
				}
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					began := time.Now()
					for _, at := range tc.publications {
						select {
						case <-time.After(time.Until(began.Add(at))):
							l.received.Add(1)
						case <-ctx.Done():
							return
						}
					}
				}()
				if tc.answered > 0 {
					go func() {
						time.Sleep(tc.answered)
						l.finish()
					}()
				}
				began := time.Now()
				err, _ := l.await(ctx, nil, &command{sent: l.now()}, time.NewTimer(time.Hour), nil)
				if took := time.Since(began); !errors.Is(err, tc.want) || took != tc.after {
					t.Errorf("%v after %v, want %v after %v", err, took, tc.want, tc.after)
				}
				cancel()
			})
		})
	}
}

// TestHealthyLinkStaysUp: a link with nothing but heartbeats on it outlives every
// timeout there is.
func TestHealthyLinkStaysUp(t *testing.T) {
	s := redistest.Start(t)
	const interval, timeout = 10 * time.Millisecond, time.Second
	bus := startBus(t, s.URL(), newRecorder(), Options{HeartbeatInterval: interval, HeartbeatTimeout: timeout})
	mustSubscribe(t, bus, "a")
	await(t, "many heartbeats", func() bool { return bus.links[0].answers.Load() > uint64(3*timeout/interval/2) })
	if stats := bus.Stats(); stats.Links[0].Connects != 1 || stats.Links[0].RoundTrip == 0 || stats.CommandRoundTrip == 0 {
		t.Errorf("%+v", stats)
	}
}

// TestChaos subscribes, unsubscribes and gives up at random while connections
// are cut, and then compares what Redis has with what is held.
func TestChaos(t *testing.T) {
	s := redistest.Start(t)
	var delivered atomic.Int64
	r := newRecorder()
	r.onDeliver = func(string, []byte) { delivered.Add(1) }
	bus := startBus(t, s.URL(), r, Options{
		Connections: 2, Linger: time.Millisecond, Prefix: "p:", SubscribeTimeout: 2 * time.Millisecond,
	})
	ctx, stop := context.WithCancel(context.Background())
	const workers, channels = 16, 40
	held := make([]map[string]int, workers)
	var wg sync.WaitGroup
	for w := range workers {
		held[w] = map[string]int{}
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for ctx.Err() == nil {
				channel := fmt.Sprint("c", rnd.IntN(channels))
				if held[w][channel] > 0 && rnd.IntN(2) == 0 {
					bus.Unsubscribe(channel)
					held[w][channel]--
					continue
				}
				if subscribeTo(bus, channel) == nil {
					held[w][channel]++
				}
			}
		})
	}
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			s.Publish(fmt.Sprint("p:c", i%channels), "x")
		}
	})
	for range 20 {
		before := delivered.Load()
		await(t, "messages flow", func() bool { return delivered.Load() > before+100 })
		if err := s.Client().Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
	awaitReady(t, bus)

	want := map[string]bool{}
	references := 0
	for _, mine := range held {
		for channel, n := range mine {
			if references += n; n > 0 {
				want["p:"+channel] = true
			}
		}
	}
	await(t, "Redis has what is held", func() bool {
		got := s.Channels()
		slices.Sort(got)
		return slices.Equal(got, slices.Sorted(maps.Keys(want)))
	})
	known, counted := 0, 0
	for _, link := range bus.Stats().Links {
		known += link.Channels
		counted += link.References
	}
	if known != len(want) || counted != references {
		t.Errorf("%d channels and %d references, want %d and %d", known, counted, len(want), references)
	}
}

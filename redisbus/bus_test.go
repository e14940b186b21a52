package redisbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/redisbus/redistest"
)

func TestSubscribeIsConfirmed(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			url, publish, subscribers := start(t)
			r := newRecorder()
			bus := startBus(t, url, r, Options{Prefix: "app:"})
			mustSubscribe(t, bus, "news")
			// No wait: the subscription is confirmed, so this must reach us.
			if n := publish("app:news", `{"hello":"world"}`); n != 1 {
				t.Errorf("published to %d subscribers, want 1", n)
			}
			publish("news", "without the prefix")
			publish("app:news", "")
			want := []string{`{"hello":"world"}`, ""}
			await(t, "both arrive", func() bool { return len(r.on("news")) >= 2 })
			if got := r.on("news"); !slices.Equal(got, want) {
				t.Errorf("delivered %q, want %q", got, want)
			}
			if n := subscribers("news"); n != 0 {
				t.Errorf("%d subscribers without the prefix", n)
			}
		})
	}
}

func TestReferencesAreCounted(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			url, _, subscribers := start(t)
			bus := startBus(t, url, newRecorder(), Options{})
			mustSubscribe(t, bus, "a", "a", "b")
			if stats := bus.Stats().Links[0]; stats.Channels != 2 || stats.References != 3 {
				t.Errorf("%d channels, %d references, want 2 and 3", stats.Channels, stats.References)
			}
			bus.Unsubscribe("a")
			bus.Unsubscribe("b")
			await(t, "b is left", func() bool { return subscribers("b") == 0 })
			if n := subscribers("a"); n != 1 {
				t.Errorf("a has %d subscribers while a reference is held", n)
			}
			bus.Unsubscribe("a")
			await(t, "a is left", func() bool { return subscribers("a") == 0 })
			await(t, "nothing is remembered", func() bool { return bus.Stats().Links[0].Channels == 0 })
			mustSubscribe(t, bus, "a")
			if n := subscribers("a"); n != 1 {
				t.Errorf("a has %d subscribers after it was joined again", n)
			}
		})
	}
}

// TestBatches: thousands of concurrent Subscribe calls are few commands.
func TestBatches(t *testing.T) {
	s := redistest.Start(t)
	bus := startBus(t, s.URL(), newRecorder(), Options{Linger: 200 * time.Millisecond})
	const n = 8000
	channels := make([]string, n)
	for i := range channels {
		channels[i] = fmt.Sprintf("channel-%d", i)
	}
	subscribeAll(t, bus, channels)
	if got := len(s.Channels()); got != n {
		t.Fatalf("%d channels in Redis, want %d", got, n)
	}
	joins := s.Calls("subscribe")
	// A confirmed channel costs no command at all.
	subscribeAll(t, bus, channels)
	if again := s.Calls("subscribe"); again != joins {
		t.Errorf("%d commands for channels that were confirmed", again-joins)
	}
	for range 2 {
		for _, channel := range channels {
			bus.Unsubscribe(channel)
		}
	}
	await(t, "all are left", func() bool { return len(s.Channels()) == 0 })
	leaves := s.Calls("unsubscribe")
	t.Logf("%d channels: %d SUBSCRIBE, %d UNSUBSCRIBE", n, joins, leaves)
	if joins > n/20 || leaves > n/20 {
		t.Errorf("%d SUBSCRIBE and %d UNSUBSCRIBE for %d channels", joins, leaves, n)
	}
}

// TestLinger: clients that leave and come back cost Redis nothing.
func TestLinger(t *testing.T) {
	s := redistest.Start(t)
	bus := startBus(t, s.URL(), newRecorder(), Options{Linger: time.Hour})
	before := s.Calls("subscribe")
	for range 100 {
		mustSubscribe(t, bus, "a")
		bus.Unsubscribe("a")
	}
	if joins, leaves := s.Calls("subscribe")-before, s.Calls("unsubscribe"); joins != 1 || leaves != 0 {
		t.Errorf("%d SUBSCRIBE and %d UNSUBSCRIBE, want 1 and 0", joins, leaves)
	}
}

// TestNothingIsLostAfterConfirm: while a back end publishes without pause, each
// subscription sees every message from its confirmation on, in order.
func TestNothingIsLostAfterConfirm(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			url, publish, _ := start(t)
			r := newRecorder()
			bus := startBus(t, url, r, Options{Connections: 2})
			const channels = 8
			var accepted [channels]atomic.Int64 // by Redis, for each channel
			ctx, stop := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			wg.Go(func() {
				for seq := int64(1); ctx.Err() == nil; seq++ {
					for c := range channels {
						publish(fmt.Sprint("c", c), fmt.Sprint(seq))
						accepted[c].Store(seq)
					}
				}
			})
			var before [channels]int64
			for c := range channels {
				mustSubscribe(t, bus, fmt.Sprint("c", c))
				before[c] = accepted[c].Load()
			}
			for c := range channels {
				await(t, "messages arrive", func() bool { return len(r.on(fmt.Sprint("c", c))) > 100 })
			}
			stop()
			wg.Wait()
			for c := range channels {
				channel, last := fmt.Sprint("c", c), fmt.Sprint(accepted[c].Load())
				await(t, "the last message arrives", func() bool {
					got := r.on(channel)
					return got[len(got)-1] == last
				})
				got := r.on(channel)
				var first int64
				if _, err := fmt.Sscan(got[0], &first); err != nil {
					t.Fatal(err)
				}
				// The one that was on its way at the confirmation may be missing.
				if first > before[c]+2 {
					t.Errorf("%s: first message is %d, but %d was accepted before the subscription", channel, first, before[c])
				}
				for i, message := range got {
					if want := fmt.Sprint(first + int64(i)); message != want {
						t.Fatalf("%s: message %d is %s, want %s", channel, i, message, want)
					}
				}
			}
		})
	}
}

// TestSubscribeTimeout: a call that Redis does not answer in time fails and leaves
// no reference, and those behind it are not held up.
func TestSubscribeTimeout(t *testing.T) {
	s := redistest.Start(t)
	bus := startBus(t, s.URL(), newRecorder(), Options{SubscribeTimeout: 20 * time.Millisecond, HeartbeatTimeout: time.Minute})
	s.Pause()
	answers := make(chan error, 3)
	for _, channel := range []string{"a", "b", "a"} {
		bus.Subscribe(channel, func(err error) { answers <- err })
	}
	for range 3 {
		if err := <-answers; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after SubscribeTimeout: %v", err)
		}
	}
	if n := bus.Stats().Links[0].References; n != 0 {
		t.Errorf("%d references are held", n)
	}
	s.Resume()
	await(t, "Redis is rid of both", func() bool { return bus.Stats().Links[0].Channels == 0 && len(s.Channels()) == 0 })
}

// TestSubscribeUnderALock: done is called on a goroutine of the bus, whatever the
// answer is, so the caller may hold a lock that done takes.
func TestSubscribeUnderALock(t *testing.T) {
	s := redistest.Start(t)
	bus := startBus(t, s.URL(), newRecorder(), Options{})
	var mu sync.Mutex
	subscribe := func(channel string) error {
		answer := make(chan error, 1)
		mu.Lock()
		bus.Subscribe(channel, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			answer <- err
		})
		mu.Unlock()
		return <-answer
	}
	for range 2 {
		if err := subscribe("a"); err != nil {
			t.Error(err)
		}
	}
	s.Kill()
	awaitDown(t, bus)
	if err := subscribe("a"); !errors.Is(err, ErrNotConnected) {
		t.Errorf("without Redis: %v", err)
	}
}

// TestSubscribeBeforeTheFirstPublication: what done does has been done when the
// first publication is delivered.
func TestSubscribeBeforeTheFirstPublication(t *testing.T) {
	s := redistest.Start(t)
	r := newRecorder()
	var confirmed, early atomic.Int64
	r.onDeliver = func(channel string, _ []byte) {
		if confirmed.Load() == 0 {
			early.Add(1)
		}
	}
	bus := startBus(t, s.URL(), r, Options{})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				s.Publish("a", "x")
			}
		}
	}()
	bus.Subscribe("a", func(error) { confirmed.Add(1) })
	await(t, "publications arrive", func() bool { return len(r.on("a")) > 10 })
	close(stop)
	<-stopped
	if n := early.Load(); n > 0 {
		t.Errorf("%d publications before done", n)
	}
}

// TestRefusedChannel: Redis refuses a whole SUBSCRIBE for one channel that the
// user may not read; only those who asked for that one learn of it.
func TestRefusedChannel(t *testing.T) {
	s := redistest.Start(t)
	ctx := context.Background()
	if err := s.Client().Do(ctx, "ACL", "SETUSER", "node", "on", ">pw", "resetchannels", "&open-*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(s.URL(), "redis://", "redis://node:pw@", 1)
	bus := startBus(t, url, newRecorder(), Options{})
	var wg sync.WaitGroup
	for i := range 600 {
		wg.Go(func() {
			if err := subscribeTo(bus, fmt.Sprint("open-", i)); err != nil {
				t.Errorf("open-%d: %v", i, err)
			}
		})
		if i%100 == 0 {
			wg.Go(func() {
				if err := subscribeTo(bus, fmt.Sprint("closed-", i)); err == nil || !strings.Contains(err.Error(), "NOPERM") {
					t.Errorf("closed-%d: %v", i, err)
				}
			})
		}
	}
	wg.Wait()
	stats := bus.Stats().Links[0]
	if stats.Channels != 600 || stats.References != 600 || stats.RefusedJoins != 6 || stats.Connects != 1 {
		t.Errorf("%+v, want 600 channels and references, 6 refusals, one connection", stats)
	}
}

func TestSeveralConnections(t *testing.T) {
	s := redistest.Start(t)
	r := newRecorder()
	bus := startBus(t, s.URL(), r, Options{Connections: 4})
	var channels []string
	for i := range 100 {
		channels = append(channels, fmt.Sprint("c", i))
	}
	subscribeAll(t, bus, channels)
	for i, link := range bus.Stats().Links {
		if link.Channels == 0 || link.Channels == 100 {
			t.Errorf("link %d has %d of 100 channels", i, link.Channels)
		}
	}
	for i := range 50 {
		for _, channel := range channels {
			s.Publish(channel, fmt.Sprint(i))
		}
	}
	for _, channel := range channels {
		await(t, "all arrive", func() bool { return len(r.on(channel)) == 50 })
		for i, message := range r.on(channel) {
			if message != fmt.Sprint(i) {
				t.Fatalf("%s: message %d is %q", channel, i, message)
			}
		}
	}
}

func TestUnsubscribeWithoutReference(t *testing.T) {
	s := redistest.Start(t)
	bus := startBus(t, s.URL(), newRecorder(), Options{})
	bus.Unsubscribe("never")
	mustSubscribe(t, bus, "a")
	if stats := bus.Stats().Links[0]; stats.References != 1 {
		t.Errorf("%d references, want 1", stats.References)
	}
}

func TestLifeCycle(t *testing.T) {
	bus, err := New(Options{URL: "redis://127.0.0.1:1", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	bus.Subscribe("a", func(err error) { done <- err })
	bus.Publish("a", nil, func(err error) { done <- err })
	select {
	case err := <-done:
		t.Errorf("%v before Start", err)
	default:
	}
	bus.Close()
	if err := <-done; !errors.Is(err, ErrNotConnected) && !errors.Is(err, ErrClosed) {
		t.Errorf("subscribe of a bus that never started: %v", err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNotConnected) {
		t.Errorf("publish of a bus that never started: %v", err)
	}
	bus.Publish("a", nil, func(err error) { done <- err })
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("publish after Close: %v", err)
	}
	if err := subscribeTo(bus, "a"); !errors.Is(err, ErrClosed) {
		t.Errorf("subscribe after Close: %v", err)
	}
	if err := bus.Start(newRecorder()); !errors.Is(err, ErrClosed) {
		t.Errorf("start after Close: %v", err)
	}
	if err := bus.Ready(); !errors.Is(err, ErrNotConnected) {
		t.Errorf("ready after Close: %v", err)
	}
	bus.Close()
}

// TestCloseDoesNotWaitForRedis: everything that waits for a paused Redis ends.
func TestCloseDoesNotWaitForRedis(t *testing.T) {
	s := redistest.Start(t)
	bus := startBus(t, s.URL(), newRecorder(), Options{HeartbeatTimeout: time.Hour, SubscribeTimeout: time.Hour})
	s.Pause()
	failed := make(chan error, 2)
	bus.Subscribe("a", func(err error) { failed <- err })
	bus.Publish("a", []byte("x"), func(err error) { failed <- err })
	bus.Close()
	for range 2 {
		if err := <-failed; !errors.Is(err, ErrNotConnected) && !errors.Is(err, ErrClosed) {
			t.Errorf("interrupted call: %v", err)
		}
	}
}

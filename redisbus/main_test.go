package redisbus

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/redisbus/redistest"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(pacedPublisher); args != "" {
		if err := publishPaced(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m,
		// go-redis looks once a second whether it can dial again, and finds only
		// then that its client is closed.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// recorder is a receiver that remembers everything.
type recorder struct {
	mu        sync.Mutex // guards the rest
	delivered map[string][]string
	lost      map[string]int
	onDeliver func(channel string, data []byte) // called without the lock; may be nil
}

func newRecorder() *recorder {
	return &recorder{delivered: map[string][]string{}, lost: map[string]int{}}
}

func (r *recorder) Deliver(p modes.Publication) {
	channel, data := string(p.Channel), p.Data
	if r.onDeliver != nil {
		r.onDeliver(channel, data)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delivered[channel] = append(r.delivered[channel], string(data))
}

func (r *recorder) Flush() {}

func (r *recorder) Lost(channels []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, channel := range channels {
		r.lost[channel]++
	}
}

func (r *recorder) on(channel string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.delivered[channel]...)
}

func (r *recorder) losses() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	losses := make(map[string]int, len(r.lost))
	for channel, n := range r.lost {
		losses[channel] = n
	}
	return losses
}

// await waits for a condition that other goroutines bring about.
func await(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			tb.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

// testLog writes to the test's log for as long as the test runs.
func testLog(tb testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// startBus runs a bus on a Redis until the test ends, and returns once it is
// ready. The zero fields of opts get values that suit tests.
func startBus(tb testing.TB, url string, receiver *recorder, opts Options) *Bus {
	tb.Helper()
	opts.URL = url
	if opts.Log == nil {
		opts.Log = testLog(tb)
	}
	setDefault(&opts.Linger, 20*time.Millisecond)
	setDefault(&opts.ReconnectMin, 5*time.Millisecond)
	setDefault(&opts.ReconnectMax, 20*time.Millisecond)
	bus, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(bus.Close)
	if err := bus.Start(receiver); err != nil {
		tb.Fatal(err)
	}
	awaitReady(tb, bus)
	return bus
}

func awaitReady(tb testing.TB, bus *Bus) {
	tb.Helper()
	await(tb, "bus is ready", func() bool { return bus.Ready() == nil })
}

// awaitDown waits until every Pub/Sub link is down, and Subscribe knows it.
func awaitDown(tb testing.TB, bus *Bus) {
	tb.Helper()
	connected := func(l *link) bool {
		l.channels.mu.Lock()
		defer l.channels.mu.Unlock()
		return l.channels.connected
	}
	await(tb, "every link is down", func() bool {
		return bus.Ready() != nil && !slices.ContainsFunc(bus.links, connected)
	})
}

// subscribeTo subscribes and waits for the answer.
func subscribeTo(bus *Bus, channel string) error {
	answer := make(chan error, 1)
	bus.Subscribe(channel, func(err error) { answer <- err })
	return <-answer
}

func mustSubscribe(tb testing.TB, bus *Bus, channels ...string) {
	tb.Helper()
	for _, channel := range channels {
		if err := subscribeTo(bus, channel); err != nil {
			tb.Fatalf("subscribe %q: %v", channel, err)
		}
	}
}

// subscribeAll subscribes to all channels at once.
func subscribeAll(tb testing.TB, bus *Bus, channels []string) {
	tb.Helper()
	answers := make(chan error, len(channels))
	for _, channel := range channels {
		bus.Subscribe(channel, func(err error) { answers <- err })
	}
	for range channels {
		if err := <-answers; err != nil {
			tb.Errorf("subscribe: %v", err)
		}
	}
	if tb.Failed() {
		tb.FailNow()
	}
}

// servers are the kinds of Redis that the bus must work with alike.
var servers = map[string]func(testing.TB) (url string, publish func(channel, payload string) int, subscribers func(string) int){
	"redis-server": func(tb testing.TB) (string, func(string, string) int, func(string) int) {
		s := redistest.Start(tb)
		return s.URL(), s.Publish, s.Subscribers
	},
	"embedded": func(tb testing.TB) (string, func(string, string) int, func(string) int) {
		e, err := StartEmbedded("127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(e.Close)
		return e.URL(), e.server.Publish, func(channel string) int { return e.server.PubSubNumSub(channel)[channel] }
	},
}

package redisbus

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/redisbus/redistest"
)

func TestPublishInOrder(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			url, _, _ := start(t)
			r := newRecorder()
			bus := startBus(t, url, r, Options{Prefix: "p:"})
			mustSubscribe(t, bus, "a")
			const n = 5000
			var wg sync.WaitGroup
			wg.Add(n)
			calls := make([]int, n) // each written by its own done
			for i := range n {
				bus.Publish("a", []byte(fmt.Sprint(i)), func(err error) {
					if err != nil {
						t.Errorf("message %d: %v", i, err)
					}
					calls[i]++
					wg.Done()
				})
			}
			wg.Wait()
			await(t, "all arrive", func() bool { return len(r.on("a")) == n })
			for i, message := range r.on("a") {
				if message != fmt.Sprint(i) || calls[i] != 1 {
					t.Fatalf("message %d is %q, done was called %d times", i, message, calls[i])
				}
			}
			if stats := bus.Stats(); stats.Published != n || stats.PublishErrors != 0 || stats.QueuedPublishes != 0 || stats.QueuedPublishBytes != 0 {
				t.Errorf("%+v", stats)
			}
		})
	}
}

// TestPublishIsPipelined: what is queued while Redis is busy goes out together.
func TestPublishIsPipelined(t *testing.T) {
	s := redistest.Start(t)
	bus := startBus(t, s.URL(), newRecorder(), Options{HeartbeatTimeout: time.Minute})
	reads := func() int {
		var n int
		info := s.Client().Info(t.Context(), "stats").Val()
		_, rest, _ := strings.Cut(info, "total_reads_processed:")
		if _, err := fmt.Sscan(rest, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := reads()
	s.Pause()
	const n = 4 * maxPipeline
	done := make(chan error, n)
	for range n {
		bus.Publish("a", []byte("x"), func(err error) { done <- err })
	}
	s.Resume()
	for range n {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if took := reads() - before; took > n/20 {
		t.Errorf("Redis read %d times for %d publications", took, n)
	}
}

func TestPublishQueueIsBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		opts Options
		size int
	}{
		"by number": {Options{MaxQueuedPublishes: 10}, 1},
		"by bytes":  {Options{MaxQueuedPublishBytes: 1000}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			tc.opts.HeartbeatTimeout = time.Minute
			bus := startBus(t, s.URL(), newRecorder(), tc.opts)
			s.Pause()
			const n = 25
			results := make(chan error, n)
			for range n {
				bus.PublishForBackEnd("a", make([]byte, tc.size), func(err error) { results <- err })
			}
			// These come while Redis is paused and the publisher waits for it.
			for range n - 10 {
				if err := <-results; !errors.Is(err, ErrPublishQueueFull) {
					t.Fatalf("a publication over the bound: %v", err)
				}
			}
			if stats := bus.Stats(); stats.QueuedPublishes != 10 || stats.QueuedPublishBytes != 10*tc.size {
				t.Errorf("%d publications, %d bytes queued", stats.QueuedPublishes, stats.QueuedPublishBytes)
			}
			s.Resume()
			for range 10 {
				if err := <-results; err != nil {
					t.Errorf("a queued publication: %v", err)
				}
			}
		})
	}
}

// TestClientsLeaveRoomForBackEnds: however much clients publish, what back ends
// publish has its part of the queue.
func TestClientsLeaveRoomForBackEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		opts Options
		size int
	}{
		"by number": {Options{MaxQueuedPublishes: 20}, 1},
		"by bytes":  {Options{MaxQueuedPublishBytes: 2000}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			tc.opts.HeartbeatTimeout = time.Minute
			bus := startBus(t, s.URL(), newRecorder(), tc.opts)
			s.Pause()
			const n = 25
			clients, backEnds := make(chan error, n), make(chan error, n)
			for range n {
				bus.Publish("a", make([]byte, tc.size), func(err error) { clients <- err })
			}
			for range n - 10 {
				if err := <-clients; !errors.Is(err, ErrPublishQueueFull) {
					t.Fatalf("a client's publication over the bound: %v", err)
				}
			}
			for range 10 {
				bus.PublishForBackEnd("a", make([]byte, tc.size), func(err error) { backEnds <- err })
			}
			s.Resume()
			for range 10 {
				if err := errors.Join(<-clients, <-backEnds); err != nil {
					t.Errorf("a queued publication: %v", err)
				}
			}
			// All of it has been given back.
			for range 10 {
				bus.Publish("a", make([]byte, tc.size), func(err error) { clients <- err })
			}
			for range 10 {
				if err := <-clients; err != nil {
					t.Errorf("a client's publication when the queue is empty again: %v", err)
				}
			}
		})
	}
}

// TestPublishRefused: an error that Redis answers with is no broken link.
func TestPublishRefused(t *testing.T) {
	s := redistest.Start(t)
	if err := s.Client().Do(t.Context(), "ACL", "SETUSER", "node", "on", ">pw", "resetchannels", "&open", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	bus := startBus(t, strings.Replace(s.URL(), "redis://", "redis://node:pw@", 1), newRecorder(), Options{})
	results := make(chan error, 3)
	for _, channel := range []string{"open", "closed", "open"} {
		bus.Publish(channel, nil, func(err error) { results <- err })
	}
	for _, refused := range []bool{false, true, false} {
		err := <-results
		if got := err != nil && strings.Contains(err.Error(), "NOPERM") && !errors.Is(err, ErrNotConnected); got != refused {
			t.Errorf("%v, want refused %v", err, refused)
		}
	}
	if err := bus.Ready(); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

func TestPublishWithoutRedis(t *testing.T) {
	s := redistest.Start(t)
	bus := startBus(t, s.URL(), newRecorder(), Options{})
	s.Kill()
	results := make(chan error, 100)
	for range 100 {
		bus.Publish("a", nil, func(err error) { results <- err })
	}
	for range 100 {
		if err := <-results; !errors.Is(err, ErrNotConnected) {
			t.Errorf("without Redis: %v", err)
		}
	}
	s.Restart()
	awaitReady(t, bus)
	bus.Publish("a", nil, func(err error) { results <- err })
	if err := <-results; err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

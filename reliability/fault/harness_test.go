package fault_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/redisserver"
	"github.com/tandem-ws/tandem/compare/workload"
	"github.com/tandem-ws/tandem/reliability/client"
	"github.com/tandem-ws/tandem/reliability/fault"
)

// These tests run the real server, redis-server and clients in each mode. They wait
// for conditions, and log how long those took (go test -v).

const (
	patience = 60 * time.Second
	channel  = "fault-%d"
	channels = 10
	size     = 128
	rate     = 300
	// A dead link to Redis is noticed within the sum.
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

// within returns a context that ends after patience.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// startNode starts the server; env is added to the settings of all tests.
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

func startRedis(t *testing.T) *redisserver.Server {
	t.Helper()
	r, err := redisserver.Start(redisserver.Options{})
	must(t, err)
	t.Cleanup(func() {
		if err := r.Stop(3 * time.Second); err != nil {
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

// startPool starts clients and waits until they are subscribed.
func startPool(t *testing.T, n int, p *workload.Persistent, targets ...string) *client.Pool {
	t.Helper()
	pool := client.New(client.Options{
		Targets: targets, Channel: channel, Channels: channels, Each: 1, Published: p.Last,
		MinDelay: 50 * time.Millisecond, MaxDelay: time.Second,
		From: net.IPv4(127, 0, 4, 1), Sources: 4,
	})
	t.Cleanup(pool.Close)
	must(t, pool.Start(within(t), n, 0))
	must(t, pool.AwaitJoined(within(t)))
	return pool
}

// publishing publishes until the returned function is called.
func publishing(t *testing.T, p *workload.Persistent) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Publish(ctx, workload.Plan{Rate: rate, Size: size, Order: workload.Random}) }()
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

// awaitReceived waits until the clients have received n more messages.
func awaitReceived(t *testing.T, pool *client.Pool, n int64) {
	t.Helper()
	n += pool.Counters().Received
	await(t, fmt.Sprintf("%d messages", n), func() bool { return pool.Counters().Received >= n })
}

func await(t *testing.T, what string, done func() bool, pools ...*client.Pool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			for _, pool := range pools {
				t.Logf("of %d clients %d are subscribed: %+v", pool.Size(), pool.Joined(), pool.Counters())
			}
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

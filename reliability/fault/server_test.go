package fault_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/workload"
	"github.com/tandem-ws/tandem/reliability/client"
)

// After a crash under load, clients reconnect no faster than CONNECT_RATE allows.
func TestServerKilled(t *testing.T) {
	forEachMode(t, func(t *testing.T, mode string) {
		const clients, connectRate = 250, 100
		redis := startRedis(t)
		o := node.Options{Mode: mode, Redis: redis.Addr()}
		p := workload.NewPersistent(workload.Options{URL: redis.URL(), Channel: channel, Channels: channels})
		first := startNode(t, o)
		pool := startPool(t, clients, p, first.Options.Public)
		stop := publishing(t, p)
		awaitReceived(t, pool, 1000)

		must(t, first.Signal(syscall.SIGKILL))
		<-first.Done()
		await(t, "everybody to notice", func() bool { return pool.Joined() == 0 })
		o.Public, o.Internal = first.Options.Public, first.Options.Internal
		began := time.Now()
		second := startNode(t, o, fmt.Sprintf("CONNECT_RATE=%d", connectRate))
		must(t, pool.AwaitJoined(within(t)))
		took := time.Since(began)
		m, err := second.Metrics(within(t))
		must(t, err)
		t.Logf("%d clients were back after %v, %g handshakes refused", clients, took.Round(time.Millisecond), m.Count("tandem_handshake_failures_total"))
		// a second's worth may connect at once
		if most := connectRate * (took.Seconds() + 1); m.Count("tandem_handshakes_total") > most {
			t.Errorf("%g handshakes in %v, want no more than %g", m.Count("tandem_handshakes_total"), took, most)
		}
		if m.Count("tandem_handshake_failures_total") == 0 {
			t.Error("no handshake was refused: the rate was not put to the test")
		}
		awaitReceived(t, pool, 1000)
		stop()
		must(t, p.Publish(within(t), workload.Plan{Count: channels, Size: size}))
		must(t, pool.Settle(within(t)))
		if counters := pool.Counters(); !counters.Clean() {
			t.Errorf("%s", strings.Join(counters.Faults, "\n"))
		}
	})
}

// When descriptors run out, connected clients stay connected and miss nothing; when
// there are some again, others can connect.
func TestDescriptorsExhausted(t *testing.T) {
	forEachMode(t, func(t *testing.T, mode string) {
		const clients, limit, silent = 50, 200, 400
		redis := startRedis(t)
		server := startNode(t, node.Options{
			Mode: mode, Redis: redis.Addr(), Wrap: []string{"sh", "-c", fmt.Sprintf("ulimit -n %d && exec \"$0\"", limit)},
		}, "HANDSHAKE_TIMEOUT=10m")
		p := workload.NewPersistent(workload.Options{URL: redis.URL(), Channel: channel, Channels: channels})
		pool := startPool(t, clients, p, server.Options.Public)
		stop := publishing(t, p)

		// silent connections: each takes a descriptor
		var held []net.Conn
		defer func() {
			for _, conn := range held {
				_ = conn.Close()
			}
		}()
		for range silent {
			conn, err := net.DialTimeout("tcp", server.Options.Public, patience)
			must(t, err) // the kernel accepts it, whether the server does or not
			held = append(held, conn)
		}
		descriptors := func() int {
			all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", server.PID()))
			must(t, err)
			return len(all)
		}
		await(t, "descriptors to run out", func() bool { return descriptors() >= limit })
		awaitReceived(t, pool, 2000)
		if n := descriptors(); n < limit {
			t.Errorf("%d descriptors are open, want %d: they had not run out", n, limit)
		}
		late := client.New(client.Options{
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
		must(t, errors.Join(pool.Settle(within(t)), late.Settle(within(t))))
		counters := pool.Counters()
		if !counters.Clean() || len(counters.Ended) > 0 || counters.Connected != clients {
			t.Errorf("those who were in: %+v", counters)
		}
		m, err := server.Metrics(within(t))
		must(t, err)
		if m.Count("tandem_accept_cooldowns_total") == 0 {
			t.Error("no cooldown was counted")
		}
	})
}

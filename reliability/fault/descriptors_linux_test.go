package fault_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/workload"
	"github.com/tandem-ws/tandem/reliability/client"
)

// When descriptors run out, connected clients stay connected and miss nothing; when
// there are some again, others can connect.
func TestDescriptorsExhausted(t *testing.T) {
	forEachMode(t, func(t *testing.T, mode string) {
		const clients, limit, silent = 50, 200, 400
		redis := startRedis(t)
		server := startNode(t, node.Options{Mode: mode, Redis: redis.Addr()}, "HANDSHAKE_TIMEOUT=10m")
		// The node takes no more connections than it has descriptors for, so they run
		// out only if it loses some that it had.
		must(t, unix.Prlimit(server.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil))
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

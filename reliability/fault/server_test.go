package fault_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/workload"
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

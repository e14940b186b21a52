package redisbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/redisbus/redistest"
)

// Heartbeats of these tests. The time allowed to notice something is much more
// than both together, for machines that are busy.
const (
	testInterval = 50 * time.Millisecond
	testTimeout  = 500 * time.Millisecond
)

func watchful(opts Options) Options {
	opts.HeartbeatInterval, opts.HeartbeatTimeout = testInterval, testTimeout
	return opts
}

// replicaOf makes s a replica of master, or a master again if that is nil.
func replicaOf(t *testing.T, s, master *redistest.Server) {
	t.Helper()
	host, port := "NO", "ONE"
	if master != nil {
		host, port, _ = net.SplitHostPort(master.Addr())
	}
	if err := s.Client().Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
}

func publishOn(bus *Bus, channel, data string) error {
	done := make(chan error, 1)
	bus.Publish(channel, []byte(data), func(err error) { done <- err })
	return <-done
}

// TestMasterBecomesReplica: a living master is made a replica, as Sentinel does,
// and its new master dies. Nothing is published to it meanwhile, whoever subscribes
// learns that there is no link, and the gap is announced.
func TestMasterBecomesReplica(t *testing.T) {
	for name, rules := range map[string]string{"RESP3": "+@all", "RESP2": "+@all -hello"} {
		t.Run(name, func(t *testing.T) {
			old, master := redistest.Start(t), redistest.Start(t)
			setUser(t, old, "node", rules)
			r := newRecorder()
			bus := startBus(t, "redis://node:pw@"+old.Addr(), r, watchful(Options{Connections: 3}))
			channels := []string{"a", "b", "c", "d", "e", "f"}
			mustSubscribe(t, bus, channels...)
			replicaOf(t, old, master)
			// Without waiting for a heartbeat: this reaches nobody but this node.
			if err := publishOn(bus, "a", "x"); !errors.Is(err, ErrNotConnected) {
				t.Errorf("published to a replica: %v", err)
			}
			awaitDown(t, bus)
			if err := bus.Ready(); !strings.Contains(err.Error(), "replica") {
				t.Errorf("%v, want it to say that it is a replica", err)
			}
			if err := subscribeTo(bus, "g"); !errors.Is(err, ErrNotConnected) {
				t.Errorf("subscribe: %v", err)
			}
			master.Kill()
			if err := publishOn(bus, "a", "x"); !errors.Is(err, ErrNotConnected) {
				t.Errorf("published without a master: %v", err)
			}
			replicaOf(t, old, nil)
			awaitReady(t, bus)
			for _, channel := range channels {
				if r.losses()[channel] < 1 {
					t.Errorf("%s is not reported", channel)
				}
			}
			if err := publishOn(bus, "a", "again"); err != nil {
				t.Errorf("published to the master: %v", err)
			}
			await(t, "it arrives", func() bool {
				got := r.on("a")
				return len(got) > 0 && got[len(got)-1] == "again"
			})
		})
	}
}

// TestTwoSides: two nodes behind addresses that part and come together again.
func TestTwoSides(t *testing.T) {
	old, master := redistest.Start(t), redistest.Start(t)
	proxy := redistest.StartProxy(t, "127.0.0.1", old.Addr())
	here, there := newRecorder(), newRecorder()
	left := startBus(t, "redis://"+proxy.Addr(), here, watchful(Options{}))
	right := startBus(t, master.URL(), there, watchful(Options{}))
	mustSubscribe(t, left, "a")
	mustSubscribe(t, right, "a")
	// The endpoint moves, and connections to where it led before live on.
	replicaOf(t, old, master)
	proxy.Target(master.Addr())
	await(t, "the gap is announced", func() bool { return here.losses()["a"] > 0 })
	awaitReady(t, left)
	for i, bus := range []*Bus{left, right} {
		if err := publishOn(bus, "a", fmt.Sprint("from ", i)); err != nil {
			t.Fatal(err)
		}
	}
	for name, r := range map[string]*recorder{"left": here, "right": there} {
		await(t, name+" has both", func() bool {
			got := strings.Join(r.on("a"), ",")
			return strings.Contains(got, "from 0") && strings.Contains(got, "from 1")
		})
	}
	if n := there.losses()["a"]; n > 0 {
		t.Errorf("%d gaps on the side that stayed", n)
	}
}

// TestOldMasterLivesOn: an address comes to lead to another Redis, and the one
// before is a master still, so that ROLE says nothing.
func TestOldMasterLivesOn(t *testing.T) {
	for name, rules := range map[string]string{"ROLE": "+@all", "no ROLE": "+@all -role", "no HELLO": "+@all -hello"} {
		t.Run(name, func(t *testing.T) {
			old, master := redistest.Start(t), redistest.Start(t)
			for _, s := range []*redistest.Server{old, master} {
				setUser(t, s, "node", rules)
			}
			proxy := redistest.StartProxy(t, "127.0.0.1", old.Addr())
			r := newRecorder()
			bus := startBus(t, "redis://node:pw@"+proxy.Addr(), r, watchful(Options{Connections: 2, Prefix: "p:"}))
			channels := []string{"a", "b", "c", "d", "e", "f"}
			mustSubscribe(t, bus, channels...)
			proxy.Target(master.Addr())
			for _, channel := range channels {
				await(t, "the gap is announced", func() bool { return r.losses()[channel] > 0 })
			}
			awaitReady(t, bus)
			for _, channel := range channels {
				if n := master.Publish("p:"+channel, "new"); n != 1 {
					t.Errorf("%s has %d subscribers at the new master", channel, n)
				}
			}
		})
	}
}

func setUser(t *testing.T, s *redistest.Server, name, rules string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", name, "reset", "on", ">pw", "allkeys", "allchannels"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}
	if err := s.Client().Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestOneWay: a proxy that keeps the connections and forwards nothing in one
// direction.
func TestOneWay(t *testing.T) {
	for name, direction := range map[string]redistest.Direction{"to Redis": redistest.ToServer, "from Redis": redistest.ToClient} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			proxy := redistest.StartProxy(t, "127.0.0.1", s.Addr())
			r := newRecorder()
			bus := startBus(t, "redis://"+proxy.Addr(), r, watchful(Options{Connections: 2}))
			channels := []string{"a", "b", "c", "d", "e", "f"}
			mustSubscribe(t, bus, channels...)
			goOn := proxy.Hold(direction)
			awaitDown(t, bus)
			if err := publishOn(bus, "a", "x"); !errors.Is(err, ErrNotConnected) {
				t.Errorf("publish: %v", err)
			}
			goOn()
			awaitReady(t, bus)
			for _, channel := range channels {
				if r.losses()[channel] < 1 {
					t.Errorf("%s is not reported", channel)
				}
			}
		})
	}
}

// TestNameMoves: a DNS name that moves to another address is followed, although
// the Redis that it led to answers on as a master.
func TestNameMoves(t *testing.T) {
	old, master := redistest.Start(t), redistest.Start(t)
	before := redistest.StartProxy(t, "127.0.0.1", old.Addr())
	_, port, _ := net.SplitHostPort(before.Addr())
	after := redistest.StartProxyOn(t, net.JoinHostPort("127.0.0.2", port), master.Addr())
	names, resolver := serveNames(t, "127.0.0.1")
	r := newRecorder()
	bus := startBus(t, "redis://redis.test:"+port, r, watchful(Options{resolver: resolver}))
	mustSubscribe(t, bus, "a")
	names.set("127.0.0.2")
	await(t, "the gap is announced", func() bool { return r.losses()["a"] > 0 })
	awaitReady(t, bus)
	if n := master.Publish("a", "x"); n != 1 {
		t.Errorf("%d subscribers behind %s", n, after.Addr())
	}
}

// names is a DNS server that knows one address, whatever the name.
type names struct {
	mu      sync.Mutex
	address string
}

func (n *names) set(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.address = address
}

// serveNames returns a resolver that asks a server of the test's.
func serveNames(t *testing.T, address string) (*names, *net.Resolver) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{address: address}
	var serving sync.WaitGroup
	serving.Go(func() {
		buffer := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(n.answer(buffer[:size]), from)
		}
	})
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		_ = conn.Close()
		serving.Wait()
	})
	return n, resolver
}

// answer answers a query of one question (RFC 1035 section 4).
func (n *names) answer(query []byte) []byte {
	const header, fixed = 12, 4
	end := header
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 1 + fixed
	if end > len(query) {
		return nil
	}
	answer := append([]byte(nil), query[:end]...)
	// It is an authoritative answer, with one question and nothing else so far.
	copy(answer[2:header], []byte{0x85, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	if answer[end-3] == 1 {
		n.mu.Lock()
		defer n.mu.Unlock()
		answer[7] = 1
		// The name of the question, type A, class IN, not to be kept, 4 bytes.
		answer = append(answer, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		answer = append(answer, net.ParseIP(n.address).To4()...)
	}
	return answer
}

// safeBuffer is a buffer for a log that is read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestProbeRefused: a user that may not use the probe's channel has a bus that
// works, and is told once.
func TestProbeRefused(t *testing.T) {
	for name, rules := range map[string]string{
		"channel":   "+@all resetchannels &app:*",
		"subscribe": "+@all resetchannels &open-*",
		"publish":   "+@all -publish",
		"role":      "+@all -role resetchannels &app:* &open-*",
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			setUser(t, s, "node", rules)
			var log safeBuffer
			bus := startBus(t, "redis://node:pw@"+s.Addr(), newRecorder(), watchful(Options{
				Prefix: "open-", Connections: 2, Log: slog.New(slog.NewTextHandler(&log, nil)),
			}))
			if name != "channel" {
				mustSubscribe(t, bus, "a")
			}
			for range 2 {
				before := bus.Stats().Links[0].Connects
				if err := s.Client().Do(t.Context(), "CLIENT", "KILL", "USER", "node").Err(); err != nil {
					t.Fatal(err)
				}
				await(t, "another connection", func() bool { return bus.Stats().Links[0].Connects > before && bus.Ready() == nil })
			}
			want := map[string]int{"channel": 1, "subscribe": 0, "publish": 1, "role": 0}[name]
			if got := strings.Count(log.String(), "refuses the probe"); got != want {
				t.Errorf("said %d times that the probe is refused, want %d: %s", got, want, log.String())
			}
			if got := strings.Count(log.String(), "does not answer ROLE"); got != 0 && name != "role" || got != 1 && name == "role" {
				t.Errorf("said %d times that ROLE is not there", got)
			}
		})
	}
}

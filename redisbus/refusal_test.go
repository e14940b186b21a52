package redisbus

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/redisbus/redistest"
)

// TestRefusalHeals: Redis takes away a permission while channels are held, and
// gives it back. Those who held them are told of the gap, nobody is told that he is
// subscribed meanwhile, readiness names the channel, and then messages flow again.
func TestRefusalHeals(t *testing.T) {
	s := redistest.Start(t)
	setUser(t, s, "node", "+@all")
	var log safeBuffer
	r := newRecorder()
	bus := startBus(t, "redis://node:pw@"+s.Addr(), r, Options{
		Prefix: "p:", Connections: 2, Log: slog.New(slog.NewTextHandler(io.MultiWriter(&log, t.Output()), nil)),
	})
	mustSubscribe(t, bus, "open", "closed", "other")
	// Redis disconnects those who have what they may no longer have.
	setUser(t, s, "node", "+@all resetchannels &p:open &p:other &p:tandem.probe.*")
	await(t, "the gap is announced", func() bool { return r.losses()["closed"] == 1 })
	await(t, "readiness names it", func() bool {
		err := bus.Ready()
		return err != nil && strings.Contains(err.Error(), "closed") && strings.Contains(err.Error(), "NOPERM")
	})
	for range 3 {
		if err := subscribeTo(bus, "closed"); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("a newcomer: %v", err)
		}
	}
	refused := 0
	for _, link := range bus.Stats().Links {
		refused += link.RefusedChannels
	}
	if refused != 1 || r.losses()["closed"] != 1 {
		t.Errorf("%d channels refused, %d gaps announced, want 1 of each", refused, r.losses()["closed"])
	}
	await(t, "others go on", func() bool { return subscribeTo(bus, "open") == nil })
	setUser(t, s, "node", "+@all")
	// Without anybody who asks.
	await(t, "a message reaches those who held it", func() bool {
		s.Publish("p:closed", "again")
		return len(r.on("closed")) > 0
	})
	awaitReady(t, bus)
	if n := r.losses()["closed"]; n < 2 {
		t.Error("what was missed after the first announcement is not announced")
	}
	mustSubscribe(t, bus, "closed")
	await(t, "the log says that it is over", func() bool { return strings.Contains(log.String(), "refuses no channel any more") })
	if n := strings.Count(log.String(), "redis refuses channels"); n != 1 {
		t.Errorf("the log says %d times that channels are refused", n)
	}
}

// TestRefusedAndLeft: what nobody holds any more is not asked for again, and the
// node is ready.
func TestRefusedAndLeft(t *testing.T) {
	s := redistest.Start(t)
	setUser(t, s, "node", "+@all")
	bus := startBus(t, "redis://node:pw@"+s.Addr(), newRecorder(), Options{})
	mustSubscribe(t, bus, "closed")
	setUser(t, s, "node", "+@all resetchannels &tandem.probe.*")
	await(t, "it is refused", func() bool { return bus.Stats().Links[0].RefusedChannels == 1 })
	bus.Unsubscribe("closed")
	awaitReady(t, bus)
	if stats := bus.Stats().Links[0]; stats.Channels != 0 || stats.References != 0 {
		t.Errorf("%d channels and %d references are left", stats.Channels, stats.References)
	}
}

// scripted is a server that answers PUBLISH as it is told, and everything else as
// a master does.
type scripted struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu      sync.Mutex
	greet   string // written to each connection, which is then closed
	ping    string
	publish string
}

func startScripted(t *testing.T) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{listener: listener, ping: "+PONG", publish: ":1"}
	s.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.serving.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		s.serving.Wait()
	})
	return s
}

func (s *scripted) say(greet, ping, publish string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.greet, s.ping, s.publish = greet, ping, publish
}

func (s *scripted) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		var n int
		if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
			return
		}
		command := make([]string, n)
		for i := range command {
			var size int
			if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
				return
			}
			argument := make([]byte, size+2)
			if _, err := io.ReadFull(in, argument); err != nil {
				return
			}
			command[i] = string(argument[:size])
		}
		s.mu.Lock()
		greet, ping, publish := s.greet, s.ping, s.publish
		s.mu.Unlock()
		if greet != "" {
			_, _ = io.WriteString(conn, greet+"\r\n")
			return
		}
		answer := "-ERR unknown command"
		switch command[0] {
		case "PING":
			answer = ping
			if len(command) > 1 && ping == "+PONG" {
				answer = "+" + command[1]
			}
		case "AUTH":
			answer = "-ERR unknown command 'AUTH', with args beginning with: '" + strings.Join(command[1:], "' '") + "'"
		case "ROLE":
			answer = "*3\r\n$6\r\nmaster\r\n:0\r\n*0"
		case "SUBSCRIBE":
			answer = ""
			for _, channel := range command[1:] {
				answer += fmt.Sprintf("*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(channel), channel)
			}
			answer = strings.TrimSuffix(answer, "\r\n")
		case "PUBLISH":
			answer = publish
		}
		if _, err := io.WriteString(conn, answer+"\r\n"); err != nil {
			return
		}
	}
}

// TestPublishErrors: whatever Redis refuses is an error to the publisher.
func TestPublishErrors(t *testing.T) {
	for _, answer := range []string{
		"READONLY You can't write against a read only replica.",
		"MOVED 866 127.0.0.1:7002",
		"ASK 866 127.0.0.1:7002",
		"CLUSTERDOWN The cluster is down",
		"NOPERM this user has no permissions to access one of the channels",
		"OOM command not allowed when used memory > 'maxmemory'.",
		"NOREPLICAS Not enough good replicas to write.",
		"MASTERDOWN Link with MASTER is down",
		"LOADING Redis is loading the dataset in memory",
		"BUSY Redis is busy running a script",
		"ERR something else",
	} {
		word, _, _ := strings.Cut(answer, " ")
		t.Run(word, func(t *testing.T) {
			s := startScripted(t)
			bus := startBus(t, "redis://"+s.listener.Addr().String(), newRecorder(), Options{})
			s.say("", "+PONG", "-"+answer)
			if err := publishOn(bus, "a", "x"); err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%v, want %s", err, word)
			}
			s.say("", "+PONG", ":0")
			await(t, "it is published", func() bool { return publishOn(bus, "a", "x") == nil })
			bus.Close()
		})
	}
}

// TestReasons: why Redis does not serve us reaches readiness and the log, once for
// each change, and without the password.
func TestReasons(t *testing.T) {
	s := startScripted(t)
	var log safeBuffer
	bus := startBus(t, "redis://"+s.listener.Addr().String(), newRecorder(), Options{
		HeartbeatInterval: 10 * time.Millisecond, HeartbeatTimeout: 5 * time.Second,
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for _, reason := range []struct{ greet, ping string }{
		{"-ERR max number of clients reached", ""},
		{"", "-NOAUTH Authentication required."},
		{"", "-LOADING Redis is loading the dataset in memory"},
	} {
		text := strings.TrimPrefix(reason.greet+reason.ping, "-")
		s.say(reason.greet, reason.ping, ":1")
		await(t, text, func() bool {
			err := bus.Ready()
			return err != nil && strings.Contains(err.Error(), text)
		})
		await(t, "both links say so: "+text, func() bool { return strings.Count(log.String(), text) == 2 })
	}
	s.say("", "+PONG", ":1")
	awaitReady(t, bus)
	for _, text := range []string{"max number of clients", "NOAUTH", "LOADING"} {
		if n := strings.Count(log.String(), text); n != 2 {
			t.Errorf("%q is logged %d times, want once for each of two links:\n%s", text, n, log.String())
		}
	}
	bus.Close()

	bus, err := New(Options{URL: "redis://user:hunter2@" + s.listener.Addr().String(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if err := bus.Start(newRecorder()); err != nil {
		t.Fatal(err)
	}
	await(t, "AUTH is refused", func() bool { return strings.Contains(fmt.Sprint(bus.Ready()), "unknown command") })
	if all := log.String() + fmt.Sprint(bus.Ready()); strings.Contains(all, "hunter2") {
		t.Errorf("the password is told: %s", all)
	}
}

// TestIdleTimeout: a Redis that closes idle connections sooner than the heartbeat
// comes does not make an idle node flap, nor a publication fail.
func TestIdleTimeout(t *testing.T) {
	for name, rules := range map[string]string{"probe": "+@all", "no probe": "+@all resetchannels &a"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, "--timeout", "1")
			setUser(t, s, "node", rules)
			var log safeBuffer
			bus := startBus(t, "redis://node:pw@"+s.Addr(), newRecorder(), Options{
				HeartbeatInterval: 2500 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			// Redis closes the command link twice.
			began := bus.publisher.beats.Load()
			await(t, "heartbeats", func() bool { return bus.publisher.beats.Load() >= began+2 })
			if err := publishOn(bus, "a", "x"); err != nil {
				t.Errorf("publish: %v", err)
			}
			if strings.Contains(log.String(), "down") || bus.Stats().Links[0].Connects != 1 {
				t.Errorf("the link went down: %s", log.String())
			}
		})
	}
}

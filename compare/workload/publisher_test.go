package workload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// redis is a stand-in that takes PUBLISH and keeps what was published.
type redis struct {
	net.Listener
	refuse string

	mu       sync.Mutex // guards what follows
	channels []string
	messages []Message
	auth     []string
}

func newRedis(t *testing.T, refuse string) *redis {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &redis{Listener: l, refuse: refuse}
	var gone sync.WaitGroup
	gone.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		r.serve(t, c)
	})
	t.Cleanup(func() {
		_ = l.Close()
		gone.Wait()
	})
	return r
}

func (r *redis) url() string { return "redis://" + r.Addr().String() }

func (r *redis) serve(t *testing.T, c net.Conn) {
	in := bufio.NewReader(c)
	number := func(prefix string) int {
		line, err := in.ReadString('\n')
		if err != nil {
			return -1
		}
		n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, prefix)))
		if err != nil {
			t.Errorf("%q is no %s and a number", line, prefix)
			return -1
		}
		return n
	}
	for {
		var parts []string
		for range number("*") {
			b := make([]byte, number("$")+2)
			if _, err := io.ReadFull(in, b); err != nil {
				t.Errorf("cut short: %v", err)
				return
			}
			parts = append(parts, string(b[:len(b)-2]))
		}
		if len(parts) == 0 {
			return
		}
		answer := ":1\r\n"
		r.mu.Lock()
		switch {
		case r.refuse != "":
			answer = r.refuse
		case parts[0] == "AUTH":
			r.auth, answer = parts[1:], "+OK\r\n"
		case parts[0] == "PUBLISH" && len(parts) == 3:
			m, ok := ParseMessage([]byte(parts[2]), 0)
			if !ok {
				t.Errorf("published %q", parts[2])
			}
			r.channels = append(r.channels, parts[1])
			r.messages = append(r.messages, m)
		default:
			t.Errorf("command %q was not expected", parts)
		}
		r.mu.Unlock()
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func (r *redis) published() ([]string, []Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.channels, r.messages
}

func open(t *testing.T, o Options) *Publisher {
	t.Helper()
	p, err := NewPublisher(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestBurst(t *testing.T) {
	r := newRedis(t, "")
	p := open(t, Options{URL: r.url(), Channel: "bench", Prefix: "t:"})
	for plan := range 2 {
		got, err := p.Publish(context.Background(), Plan{Count: 3000, Size: 128})
		if err != nil || got.Sent != 3000 || got.Bytes != 3000*128 || got.Receivers != 3000 || got.Took <= 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		channels, messages := r.published()
		if len(messages) != 3000*(plan+1) {
			t.Fatalf("%d messages", len(messages))
		}
		for i, m := range messages[3000*plan:] {
			if want := uint32(3000*plan + i + 1); m.Sequence != want || m.Channel != 0 || m.Time != got.Began.UnixNano() || channels[i] != "t:bench" {
				t.Fatalf("message %d on %s: %+v", i, channels[i], m)
			}
		}
	}
	if sent := p.Sent(); len(sent) != 1 || sent[0] != 6000 {
		t.Errorf("sent %v", sent)
	}
}

func TestPacedRoundRobin(t *testing.T) {
	r := newRedis(t, "")
	p := open(t, Options{URL: r.url(), Channel: "bench-%d", Channels: 12, First: 5})
	got, err := p.Publish(context.Background(), Plan{Rate: 2000, Duration: 50 * time.Millisecond, Size: 200, Channels: 8})
	if err != nil || got.Sent != 100 {
		t.Fatalf("%+v, %v", got, err)
	}
	channels, messages := r.published()
	for i, m := range messages {
		number := 5 + i%8
		intended := got.Began.Add(time.Duration(i) * 500 * time.Microsecond).UnixNano()
		want := Message{Sequence: uint32(i/8 + 1), Channel: uint32(number), Time: intended}
		if m != want || channels[i] != fmt.Sprintf("bench-%d", number) {
			t.Fatalf("message %d on %s: %+v, want %+v", i, channels[i], m, want)
		}
	}
	if sent := p.Sent(); len(sent) != 17 || sent[5] != 13 || sent[12] != 12 || sent[13] != 0 {
		t.Errorf("sent %v", sent)
	}
}

func TestRandomCountsEachChannel(t *testing.T) {
	r := newRedis(t, "")
	p := open(t, Options{URL: r.url(), Channel: "bench-%d", Channels: 5})
	if _, err := p.Publish(context.Background(), Plan{Count: 500, Size: 64, Order: Random}); err != nil {
		t.Fatal(err)
	}
	seen := make([]uint32, 5)
	_, messages := r.published()
	for _, m := range messages {
		if seen[m.Channel]++; m.Sequence != seen[m.Channel] {
			t.Fatalf("%+v, want sequence %d", m, seen[m.Channel])
		}
	}
	for i, n := range p.Sent() {
		if n != seen[i] || n < 50 {
			t.Errorf("channel %d: %d sent, %d seen", i, n, seen[i])
		}
	}
}

func TestCountsOn(t *testing.T) {
	r := newRedis(t, "")
	p := open(t, Options{URL: r.url(), Channel: "bench-%d", Channels: 2, First: 1, After: []uint32{9, 41}})
	if _, err := p.Publish(context.Background(), Plan{Count: 2, Size: 64}); err != nil {
		t.Fatal(err)
	}
	if sent := p.Sent(); sent[1] != 42 || sent[2] != 1 {
		t.Errorf("sent %v", sent)
	}
}

func TestContextEndsPlan(t *testing.T) {
	r := newRedis(t, "")
	p := open(t, Options{URL: r.url(), Channel: "bench"})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan Result)
	go func() {
		got, err := p.Publish(ctx, Plan{Rate: 1000, Size: 64})
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	for p.Sent()[0] < 3 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if got := <-done; got.Sent < 3 || uint32(got.Sent) != p.Sent()[0] {
		t.Errorf("%+v, sent %v", got, p.Sent())
	}
}

func TestAuthenticate(t *testing.T) {
	r := newRedis(t, "")
	open(t, Options{URL: "redis://me:secret@" + r.Addr().String(), Channel: "bench"})
	if r.auth[0] != "me" || r.auth[1] != "secret" {
		t.Errorf("AUTH %q", r.auth)
	}
	refused := newRedis(t, "-WRONGPASS\r\n")
	if _, err := NewPublisher(context.Background(), Options{URL: "redis://:x@" + refused.Addr().String(), Channel: "bench"}); !errors.Is(err, ErrRedis) {
		t.Errorf("got %v", err)
	}
}

func TestRedisRefuses(t *testing.T) {
	r := newRedis(t, "-NOPERM no\r\n")
	p := open(t, Options{URL: r.url(), Channel: "bench"})
	if _, err := p.Publish(context.Background(), Plan{Count: 1, Size: 64}); !errors.Is(err, ErrRedis) || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("got %v", err)
	}
}

func TestBadInput(t *testing.T) {
	r := newRedis(t, "")
	for _, o := range []Options{
		{URL: "nonsense", Channel: "bench"},
		{URL: r.url()},
		{URL: r.url(), Channel: "a%s"},
		{URL: r.url(), Channel: "a%d%d", Channels: 1},
		{URL: r.url(), Channel: "a%d"},
		{URL: r.url(), Channel: "a%d", Channels: 1, First: -1},
	} {
		if _, err := NewPublisher(context.Background(), o); !errors.Is(err, ErrPlan) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	p := open(t, Options{URL: r.url(), Channel: "bench"})
	for _, plan := range []Plan{
		{Count: 1, Size: 10},
		{Size: 64},
		{Count: -1, Size: 64},
		{Rate: -1, Count: 1, Size: 64},
		{Count: 1, Size: 64, Channels: 2},
	} {
		if _, err := p.Publish(context.Background(), plan); !errors.Is(err, ErrPlan) {
			t.Errorf("%+v: %v", plan, err)
		}
	}
	if _, err := NewPublisher(context.Background(), Options{URL: "redis://127.0.0.1:1", Channel: "bench"}); !errors.Is(err, ErrRedis) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestMessagesAllocateNothing(t *testing.T) {
	p := &Publisher{options: Options{Channel: "bench-%d", Prefix: "x:"}, turn: 1}
	p.sent = newSent(10)
	plan := Plan{Size: 128, Channels: 10}
	p.add(plan, 1764000000000000000)
	if n := testing.AllocsPerRun(100, func() {
		p.buf = p.buf[:0]
		p.add(plan, 1764000000000000000)
	}); n != 0 {
		t.Errorf("%v allocations for a message, want 0", n)
	}
}

package load

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFreeze(t *testing.T) {
	s, c := newStub(t), start(t)
	do(t, c, Command{Cmd: Connect, N: 20, Target: s.addr(), Channel: "c-x"})
	do(t, c, Command{Cmd: Mark, Next: 1})
	if a := do(t, c, Command{Cmd: Freeze, Fraction: 0.25}); a.Frozen != 5 || a.Subscribed != 20 {
		t.Fatalf("%+v", a)
	}
	for i := range uint32(10) {
		s.publish("c-x", body(i+1, 0, 128))
	}
	if a := do(t, c, Command{Cmd: Settle, Last: 10}); a.Total.Delivered != 150 || a.Total.Lost != 0 {
		t.Errorf("with 5 of 20 frozen: %+v", a.Total)
	}
	do(t, c, Command{Cmd: Freeze})
	if a := do(t, c, Command{Cmd: Settle, Last: 10}); a.Total.Delivered != 200 || !a.Total.Clean() || a.Frozen != 0 {
		t.Errorf("thawed: %+v", a)
	}
	do(t, c, Command{Cmd: Freeze, Fraction: 1})
	for _, sub := range s.subscribers("c-x") {
		_ = sub.Conn.(*net.TCPConn).SetLinger(0)
		_ = sub.Close()
	}
	a := until(t, c, "frozen connections seen reset", func(a Answer) bool { return a.Connected == 0 })
	if a.Closed["reset"] != 20 || a.Frozen != 0 || a.Subscribed != 0 {
		t.Errorf("%+v", a)
	}
}

// TestAwake: a load that stays awake takes in the same, below everyone else, and
// sleeps again when told to.
func TestAwake(t *testing.T) {
	idle := func() (n int) {
		t.Helper()
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil {
				t.Fatal(err)
			}
			if a, err := unix.SchedGetAttr(id, 0); err == nil && a.Policy == schedIdle { // else it has ended
				n++
			}
		}
		return n
	}
	s, c := newStub(t), start(t)
	do(t, c, Command{Cmd: Awake, MS: 60000})
	if n := idle(); n != 1 {
		t.Errorf("%d threads at the lowest priority, want the loop's", n)
	}
	do(t, c, Command{Cmd: Connect, N: 20, Target: s.addr(), Channel: "c-x"})
	do(t, c, Command{Cmd: Mark, Next: 1})
	for i := range uint32(10) {
		s.publish("c-x", body(i+1, 0, 128))
	}
	if a := do(t, c, Command{Cmd: Settle, Last: 10}); a.Total.Delivered != 200 || !a.Total.Clean() {
		t.Errorf("%+v", a.Total)
	}
	do(t, c, Command{Cmd: Idle, MS: 10}) // its timer is seen while the loop looks
	if unix.Geteuid() != 0 {
		return // others may lower a thread's priority, and not raise it again
	}
	do(t, c, Command{Cmd: Awake})
	if n := idle(); n != 0 {
		t.Errorf("%d threads at the lowest priority after all", n)
	}
}

func TestPublishFromClients(t *testing.T) {
	for _, channel := range []string{"c-x", "c-%d"} {
		t.Run(channel, func(t *testing.T) {
			s, c := newStub(t), start(t)
			do(t, c, Command{Cmd: Connect, N: 10, Target: s.addr(), Channel: channel})
			do(t, c, Command{Cmd: Mark, Next: 1})
			a := do(t, c, Command{Cmd: Publish, Rate: 2000, Count: 100, Size: 200})
			if a.Total.Published != 100 || a.Total.Acknowledged != 100 || a.Total.Unsent != 0 {
				t.Errorf("%+v", a.Total)
			}
			want := int64(1000)
			if strings.Contains(channel, "%d") {
				want = 100
			}
			if a = do(t, c, Command{Cmd: Settle, Own: true}); a.Total.Delivered != want || !a.Total.Clean() {
				t.Errorf("delivered %d, want %d: %+v", a.Total.Delivered, want, a.Total)
			}
			a = do(t, c, Command{Cmd: Publish, Count: 100, Size: 70000, TimeoutMS: 60000})
			if a.Total.Acknowledged != 200 {
				t.Errorf("large ones at once: %+v", a.Total)
			}
		})
	}
}

func TestSettleTimesOut(t *testing.T) {
	for _, patient := range []bool{true, false} {
		s, c := newStub(t), start(t)
		do(t, c, Command{Cmd: Connect, N: 3, Target: s.addr(), Channel: "c-x"})
		do(t, c, Command{Cmd: Mark, Next: 1})
		a := do(t, c, Command{Cmd: Settle, Last: 1, TimeoutMS: 20, Patient: patient})
		if lost := a.Total.Lost; lost == 0 != patient {
			t.Errorf("patient %v: %d lost", patient, lost)
		}
		s.publish("c-x", body(1, 0, 128))
		a = do(t, c, Command{Cmd: Settle, Last: 1})
		if a.Total.Delivered != 3 || a.Total.Lost != 0 || a.Total.Clean() != patient {
			t.Errorf("patient %v, late: %+v", patient, a.Total)
		}
	}
}

func TestIntervals(t *testing.T) {
	s, c := newStub(t), start(t)
	do(t, c, Command{Cmd: Connect, N: 4, Target: s.addr(), Channel: "c-x"})
	do(t, c, Command{Cmd: Report})
	var sum Counters
	var parts []Histogram
	for i := range uint32(3) {
		s.publish("c-x", body(i+1, 0, 128))
		do(t, c, Command{Cmd: Settle, Last: i + 1})
		a := do(t, c, Command{Cmd: Report})
		if a.Interval.Delivered != 4 || a.Interval.Seconds <= 0 {
			t.Errorf("interval %d: %+v", i, a.Interval)
		}
		sum.Add(a.Interval.Counters)
		parts = append(parts, a.Interval.Latency)
	}
	a := do(t, c, Command{Cmd: Report})
	if a.Total.Delivered != 12 || sum.Delivered != 12 || a.Interval.Delivered != 0 {
		t.Errorf("total %d, sum %d, last interval %d", a.Total.Delivered, sum.Delivered, a.Interval.Delivered)
	}
	merged, err := Merge(parts...)
	if err != nil {
		t.Fatal(err)
	}
	total, err := a.Latency.Decode()
	if err != nil || !total.Equals(merged) || merged.TotalCount() != 12 {
		t.Errorf("merged intervals hold %d values, total %d: %v", merged.TotalCount(), total.TotalCount(), err)
	}
	if a.PSS == 0 || a.RSS < a.PSS || a.UserMicros+a.SysMicros <= 0 || a.Busy <= 0 || a.Busy > 1 {
		t.Errorf("own usage: %+v", a)
	}
}

func TestBadCommands(t *testing.T) {
	c := start(t)
	for _, bad := range []Command{
		{Cmd: "fly"},
		{Cmd: Connect, Target: "127.0.0.1:1"},
		{Cmd: Connect, N: 1, Target: "nowhere"},
		{Cmd: Connect, N: 1, Target: "127.0.0.1:1", Protocol: "mqtt"},
		{Cmd: Connect, N: 1, Target: "127.0.0.1:1", Channel: "a b"},
		{Cmd: Connect, N: 1, Target: "127.0.0.1:1", Channel: "%s"},
		{Cmd: Connect, N: 1, Target: "127.0.0.1:1", From: "::1"},
		{Cmd: Connect, N: -1, Target: "127.0.0.1:1"},
		{Cmd: Connect, N: 1, Target: "127.0.0.1:1", Segment: 10},
		{Cmd: Churn, Rate: -1},
		{Cmd: Disconnect, How: "softly"},
		{Cmd: Freeze, Fraction: 2},
		{Cmd: Publish, Size: 1 << 30},
		{Cmd: Mark},
		{Cmd: Idle, MS: -1},
	} {
		if a, err := c.Do(context.Background(), bad); err == nil || a.Error == "" {
			t.Errorf("%+v was taken: %+v", bad, a)
		}
	}
	do(t, c, Command{Cmd: Idle, MS: 1})
}

func TestProcessEnds(t *testing.T) {
	s, c := newStub(t), start(t)
	do(t, c, Command{Cmd: Connect, N: 3, Target: s.addr()})
	idle := make(chan error, 1)
	go func() {
		_, err := c.Do(context.Background(), Command{Cmd: Idle, MS: 60000})
		idle <- err
	}()
	do(t, c, Command{Cmd: Quit})
	if err := <-idle; !errors.Is(err, ErrEnded) {
		t.Errorf("a command under way ended with %v, want %v", err, ErrEnded)
	}
	if _, err := c.Do(context.Background(), Command{Cmd: Report}); !errors.Is(err, ErrEnded) {
		t.Errorf("a command after the end: %v, want %v", err, ErrEnded)
	}
	waitFor(t, "the server seeing all connections end", func() bool {
		return s.get(func(s *stub) int { return len(s.conns) }) == 0
	})
}

func TestServeEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	inR, inW := io.Pipe()
	defer func() { _ = inW.Close() }()
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, inR, io.Discard) }()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

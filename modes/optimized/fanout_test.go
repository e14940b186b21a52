//go:build linux

package optimized

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/optimized/netpoll"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// quietBus confirms everything and publishes nothing.
type quietBus struct{}

func (quietBus) Start(modes.Receiver) error           { return nil }
func (quietBus) Close()                               {}
func (quietBus) Subscribe(_ string, done func(error)) { done(nil) }
func (quietBus) Unsubscribe(string)                   {}
func (quietBus) Ready() error                         { return nil }
func (quietBus) Stats() modes.BusStats                { return modes.BusStats{} }
func (quietBus) Publish(_ string, _ []byte, done func(error)) {
	done(nil)
}

// testLoop returns a loop that does not run: the test turns it.
func testLoop(tb testing.TB) *loop {
	tb.Helper()
	e := testEngine(tb, admission.Options{})
	e.Bus = quietBus{}
	listeners, _, err := listen("127.0.0.1:0", 1)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := newLoop(e, 0, listeners[0])
	if err != nil {
		tb.Fatal(err)
	}
	e.loops = []*loop{l}
	tb.Cleanup(func() {
		l.end()
		if err := l.release(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// audience returns a confirmed audience of the loop.
func (l *loop) testAudience(name string) *audience {
	a := &audience{confirmed: true}
	a.index = l.audiences.add(a)
	l.engine.directory.enter(name, l.number, 1, a)
	return a
}

// testConnection returns an upgraded connection subscribed to a, and the
// client's end of it.
func (l *loop) testConnection(tb testing.TB, p wire.Protocol, a *audience) (*record, *os.File) {
	tb.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		tb.Fatal(err)
	}
	l.adopt(pair[0], counted{}, nil)
	index := l.slab.top - 1
	r := l.slab.at(index)
	r.protocol, r.state = p, open
	l.engine.Stats.Connections[p].Add(1)
	l.addPending(r, a)
	l.join(index, r, a, false)
	client := os.NewFile(uintptr(pair[1]), "client")
	tb.Cleanup(func() { _ = client.Close() })
	return r, client
}

func (l *loop) publishNow(name string, data string) {
	l.engine.Deliver(modes.Publication{Channel: []byte(name), Data: []byte(data)})
}

// TestWhoComesBackSeesNoHole: a member leaves while a publication waits in the
// inbox, the next one comes, and somebody joins before the loop looks: he gets all
// that the inbox holds, or nothing of it.
func TestWhoComesBackSeesNoHole(t *testing.T) {
	l := testLoop(t)
	a := l.testAudience("news")
	l.testConnection(t, wire.Raw, a) // so that the audience stays
	first, _ := l.testConnection(t, wire.JSON, a)
	l.publishNow("news", "1")
	l.leaveAll(first)
	l.publishNow("news", "2")
	_, second := l.testConnection(t, wire.JSON, a)
	l.publishNow("news", "3")
	l.empty()
	var want []byte
	for _, data := range []string{"1", "2", "3"} {
		frame, _ := wire.PushFrame(wire.JSON, "news", []byte(data))
		want = append(want, frame...)
	}
	if got := readAll(t, second); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := a.wants[wire.JSON.Form(false)].Load(); n != 1 {
		t.Errorf("%d want JSON frames, want 1", n)
	}
}

func TestFanOutJoinsFramesInOrder(t *testing.T) {
	l := testLoop(t)
	a := l.testAudience("news")
	_, jsonClient := l.testConnection(t, wire.JSON, a)
	_, rawClient := l.testConnection(t, wire.Raw, a)
	var want []byte
	for i := range 5 {
		data := fmt.Sprint("message ", i)
		l.publishNow("news", data)
		frame, _ := wire.PushFrame(wire.JSON, "news", []byte(data))
		want = append(want, frame...)
	}
	l.empty()
	got := make([]byte, len(want)+1)
	// One read gets them all: they left in one write.
	if n, err := jsonClient.Read(got); err != nil || !bytes.Equal(got[:n], want) {
		t.Errorf("read %q, %v; want %q", got[:n], err, want)
	}
	if n, err := rawClient.Read(got); err != nil || !strings.HasPrefix(string(got[:n]), "\x81\x09message 0\x81\x09message 1") {
		t.Errorf("raw read %q, %v", got[:n], err)
	}
}

// readAll reads what has come until the socket is empty or at its end.
func readAll(t *testing.T, client *os.File) (all []byte) {
	t.Helper()
	raw, err := client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 64<<10)
	for {
		n, failure := 0, error(nil)
		if err := raw.Read(func(fd uintptr) bool {
			n, failure = unix.Read(int(fd), buffer)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if n <= 0 {
			if failure != nil && !errors.Is(failure, unix.EAGAIN) {
				t.Fatal(failure)
			}
			return all
		}
		all = append(all, buffer[:n]...)
	}
}

// TestSlowClient: the queue is bounded, what was sent is whole frames in order,
// then comes the close frame.
func TestSlowClient(t *testing.T) {
	for name, burst := range map[string]int{"one by one": 1, "joined": 7} {
		t.Run(name, func(t *testing.T) {
			l := testLoop(t)
			limit := 100 << 10
			l.engine.Limits.MaxQueuedBytes = limit
			a := l.testAudience("news")
			r, client := l.testConnection(t, wire.JSON, a)
			sent := 0
			for r.state == open {
				for range burst {
					l.publishNow("news", fmt.Sprintf(`{"n":%d,"p":"%s"}`, sent, strings.Repeat("x", 1000)))
					sent++
				}
				l.empty()
				if queued := l.engine.Stats.Queued.Load(); queued > int64(limit) {
					t.Fatalf("%d bytes are queued, the limit is %d", queued, limit)
				}
			}
			if len(a.members) != 0 {
				t.Error("the slow connection is still in the audience")
			}
			var all []byte
			for r.state == closing && r.out != none || len(all) == 0 {
				all = append(all, readAll(t, client)...)
				if r.out != none {
					l.flushOutbox(0, r)
				}
			}
			all = append(all, readAll(t, client)...)
			n := 0
			for ; wire.Frame(all).OpCode() == 1; n++ {
				end := frameLength(wire.JSON, all)
				if want := fmt.Sprintf(`{"n":%d,`, n); !bytes.Contains(all[:end], []byte(want)) {
					t.Fatalf("frame %d is %.80q", n, all[:end])
				}
				all = all[end:]
			}
			if want := wire.CloseFrame(wire.DisconnectSlow); !bytes.Equal(all, want) {
				t.Errorf("after %d frames comes %.80q, want %q", n, all, want)
			}
			dropped := testutil.ToFloat64(l.engine.Stats.Dropped.WithLabelValues("slow"))
			if n+int(dropped) != sent {
				t.Errorf("%d frames arrived and %v were dropped of %d", n, dropped, sent)
			}
			if queued := l.engine.Stats.Queued.Load(); queued != 0 {
				t.Errorf("%d bytes are still counted as queued", queued)
			}
		})
	}
}

// TestAFrozenClientDoesNotSpoilSharedBuffers: a buffer that waits for a slow
// client is not reused for the next batch.
func TestAFrozenClientDoesNotSpoilSharedBuffers(t *testing.T) {
	l := testLoop(t)
	a := l.testAudience("news")
	_, healthy := l.testConnection(t, wire.JSON, a)
	slow, client := l.testConnection(t, wire.JSON, a)
	var want []byte
	for slow.out == none || len(want) < 600<<10 {
		for range 3 {
			data := fmt.Sprintf("%d %s", len(want), strings.Repeat("y", 3000))
			frame, _ := wire.PushFrame(wire.JSON, "news", []byte(data))
			want = append(want, frame...)
			l.publishNow("news", data)
		}
		l.empty()
		readAll(t, healthy)
	}
	var got []byte
	for len(got) < len(want) {
		got = append(got, readAll(t, client)...)
		if slow.out != none {
			l.flushOutbox(1, slow)
		}
	}
	if !bytes.Equal(got, want) {
		t.Error("the slow client got other bytes than were published")
	}
}

func TestAStaleEventTouchesNobody(t *testing.T) {
	l := testLoop(t)
	a := l.testAudience("news")
	r, _ := l.testConnection(t, wire.JSON, a)
	old := l.token(0, r)
	l.close(0, "test")
	fresh, client := l.testConnection(t, wire.JSON, a)
	if _, err := client.Write([]byte("not a frame")); err != nil {
		t.Fatal(err)
	}
	if r != fresh || old.Generation == fresh.generation {
		t.Fatalf("the place was not reused, or not renewed")
	}
	event := netpoll.Event{Token: old, Readable: true, Writable: true}
	l.handle(&event)
	if fresh.state != open || fresh.in != none {
		t.Error("an event of the old connection was acted on")
	}
}

// TestDropIsExact leaves and joins at random and checks that every place in
// every audience is that of the connection which says so.
func TestDropIsExact(t *testing.T) {
	l := testLoop(t)
	audiences := make([]*audience, 5)
	for i := range audiences {
		audiences[i] = l.testAudience(fmt.Sprint("channel ", i))
		// A member for good, so that none is given up.
		l.testConnection(t, wire.Raw, audiences[i])
	}
	for i := range 20 {
		l.testConnection(t, wire.JSON, audiences[i%5])
	}
	for step := range 5000 {
		index := uint32(5 + step*7919%20)
		r, a := l.slab.at(index), audiences[step*104729%5]
		if slot, has := l.slotOf(r, a); has {
			l.drop(r, slot)
		} else {
			l.addPending(r, a)
			l.join(index, r, a, step%2 == 0)
		}
	}
	total := 0
	for _, a := range audiences {
		for position, m := range a.members {
			s := l.subscription(l.slab.at(m.record), m.slot())
			if s.audience != a.index || int(s.position) != position {
				t.Fatalf("member %d of %s is at %+v", position, a.channel.name, *s)
			}
		}
		total += len(a.members)
	}
	if got := l.engine.Stats.Subscriptions.Load(); int(got) != total {
		t.Errorf("%d subscriptions are counted, %d there", got, total)
	}
}

func TestListenFindsATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, _, err := listen(taken.Addr().String(), 2); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v, want that the address is in use", err)
	}
	first, at, err := listen("127.0.0.1:0", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(first)
	if _, _, err := listen(at.String(), 2); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second engine on %v: got %v, want that the address is in use", at, err)
	}
}

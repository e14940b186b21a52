package enginetest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var slowCases = []suiteCase{
	{"slow/frozen beside healthy", testFrozen},
	{"slow/thawed", testThawed},
	{"slow/within the bound", testWithinBound},
	{"slow/streams over HTTP", testSlowStreams},
	{"slow/echo", testSlowEcho},
	{"slow/floods delay nobody", testFlood},
}

// slowPayload is what fills the kernel's buffers soon.
const slowPayload = 16 << 10

// mostToFill is more than the kernel buffers for any connection.
const mostToFill = 64 << 20

// numbered is the i-th publication of slowPayload bytes.
func numbered(i int) string {
	return fmt.Sprintf(`"%08d%s"`, i, strings.Repeat("z", slowPayload-10))
}

// fill publishes to channel until done, while healthy reads every publication
// before the next one is sent, and the frozen connections cost no more than
// their bound. It returns how many publications there were.
func fill(n *kit.Node, t *testing.T, channel string, healthy *kit.Client, frozen int, done func() bool) int {
	t.Helper()
	bound := int64(frozen*n.Limits.MaxQueuedBytes + 2*slowPayload)
	deadline := time.Now().Add(kit.Patience)
	for i := 0; ; i++ {
		if done() {
			return i
		}
		n.Bus.Send(channel, numbered(i))
		healthy.ExpectPush(channel, numbered(i))
		if got := n.Stats.Queued.Load(); got > bound {
			t.Fatalf("%d bytes are queued for %d frozen clients, want at most %d", got, frozen, bound)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d frozen clients were not cut for %d publications", frozen, i)
		}
	}
}

// A client that does not read costs its bound, delays nobody, and is cut.
func testFrozen(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.MaxQueuedBytes = 256 << 10 })
	healthy := n.Session(t, "news")
	const frozen = 3
	for range frozen {
		c := n.DialNarrow(t)
		c.Handshake(modes.PathCentrifuge)
		c.Connect("news")
	}
	fill(n, t, "news", healthy, frozen, func() bool { return n.Cut(t) == frozen })
	n.AwaitConnections(t, 1)
	kit.Await(t, "nothing queued", func() (bool, string) {
		got := n.Stats.Queued.Load()
		return got == 0, fmt.Sprint(got)
	})
	kit.Await(t, "the healthy client's reference alone", func() (bool, string) {
		got := n.Bus.References()
		return got == 1, fmt.Sprint(got)
	})
	n.Bus.Send("news", `"still here"`)
	healthy.ExpectPush("news", `"still here"`)
}

// A client that resumes reading in time gets what was sent before the cut, whole and
// in order, and then the reason.
func testThawed(t *testing.T, build kit.Build) {
	for inTime := false; !inTime; {
		inTime = thaw(t, build)
	}
}

// thaw is one try of testThawed. It reports whether the client read in time:
// within CloseWait, which a busy machine may keep it from.
func thaw(t *testing.T, build kit.Build) (inTime bool) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.MaxQueuedBytes = 256 << 10 })
	healthy := n.Session(t, "news")
	frozen := n.DialNarrow(t)
	frozen.Handshake(modes.PathCentrifuge)
	frozen.Connect("news")
	// The first publication that is no longer for it shows the decision.
	published := fill(n, t, "news", healthy, 1, func() bool {
		return n.Cut(t)+kit.Count(t, n.Stats.Dropped, wire.DisconnectSlow.Reason) > 0
	})
	decided := time.Now()
	messages, err := frozen.CloseLater(int(wire.DisconnectSlow.Code))
	if err != nil {
		if kit.Ended(err) && tooLate(decided) {
			return false
		}
		t.Fatalf("read frame: %v", err)
	}
	if len(messages) > published {
		t.Errorf("got %d messages of %d", len(messages), published)
	}
	for i, m := range messages {
		replies, err := kit.Decode(wire.JSON, m)
		if err != nil || len(replies) != 1 || string(replies[0].GetPush().GetPub().GetData()) != numbered(i) {
			t.Fatalf("message %d is %s, %v", i, kit.Brief(m.Body), err)
		}
	}
	n.AwaitConnections(t, 1)
	return true
}

// tooLate reports whether a client that began to read at this time may find the
// connection reset, because it has taken most of CloseWait.
func tooLate(began time.Time) bool { return time.Since(began) > modes.CloseWait/2 }

// A client that is slow, but reads, loses nothing while it stays in its bound.
func testWithinBound(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	raw := n.DialNarrow(t)
	raw.Handshake(modes.PathRaw + "?channel=news")
	const messages = 300
	for i := range messages {
		n.Bus.Send("news", numbered(i))
		// A few messages late, so that the kernel's small window is always full.
		if i > 10 {
			raw.Expect(kit.Text(numbered(i - 11)))
		}
	}
	for i := range 11 {
		raw.Expect(kit.Text(numbered(messages - 11 + i)))
	}
	kit.Await(t, "nothing queued", func() (bool, string) {
		got := n.Stats.Queued.Load()
		return got == 0, fmt.Sprint(got)
	})
}

// Streams over HTTP are bounded as all others are; one that is read on in time has
// whole messages, in order, up to its end.
func testSlowStreams(t *testing.T, build kit.Build) {
	for path := range kit.Streams {
		for _, thaws := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/thaws %t", path, thaws), func(t *testing.T) {
			again:
				n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.MaxQueuedBytes = 256 << 10 })
				healthy := n.Session(t, "news")
				frozen := n.DialNarrow(t)
				frozen.OpenStream(path + "?channel=news")
				published := fill(n, t, "news", healthy, 1, func() bool {
					return n.Cut(t)+kit.Count(t, n.Stats.Dropped, wire.DisconnectSlow.Reason) > 0
				})
				decided, received := time.Now(), 0
				for ; thaws; received++ {
					e, err := frozen.TryEvent()
					if kit.Ended(err) && !errors.Is(err, io.EOF) && tooLate(decided) {
						goto again
					}
					if err != nil || e.Name != "" {
						if e.Name != "" && e.Data != `{"code":3008,"reason":"slow"}` {
							t.Errorf("the last event is %q", e)
						}
						if (e.Name != "") != (frozen.Protocol == wire.SSE) || err != nil && !errors.Is(err, io.EOF) {
							t.Errorf("the stream ends with %q, %v", e.Name, err)
						}
						break
					}
					if e.Data != numbered(received) {
						t.Fatalf("message %d is %.100q", received, e.Data)
					}
				}
				if thaws && (received == 0 || received > published) {
					t.Errorf("got %d messages of %d", received, published)
				}
				n.AwaitDisconnects(t, wire.DisconnectSlow.Reason, 1)
				if kit.Count(t, n.Stats.Dropped, wire.DisconnectSlow.Reason) == 0 {
					t.Errorf("nothing is counted as dropped")
				}
				n.AwaitConnections(t, 1)
				n.Bus.Send("news", `"still here"`)
				healthy.ExpectPush("news", `"still here"`)
			})
		}
	}
}

// A client that has much echoed and reads nothing of it is either not read
// from, or cut; the server's memory is bounded in either case.
func testSlowEcho(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.MaxQueuedBytes = 256 << 10 })
	c := n.DialNarrow(t)
	c.Handshake(modes.PathEcho)
	message := kit.Encode(kit.Frame{Op: ws.OpBinary, Body: pattern(32 << 10)})
	wait := kit.Background(t, 1, func(t kit.Tester, _ int) {
		for range mostToFill / len(message) {
			if err := c.TryWrite(message); err != nil {
				return
			}
		}
		t.Errorf("the server took %d bytes to be echoed", mostToFill)
	})
	kit.Await(t, "the client to be cut, or not to be read from", func() (bool, string) {
		queued := n.Stats.Queued.Load()
		if most := int64(n.Limits.MaxQueuedBytes + len(message)); queued > most {
			t.Fatalf("%d bytes are queued, want at most %d", queued, most)
		}
		return n.Stats.TotalConnections() == 0 || queued > 0, fmt.Sprint(queued)
	})
	c.Leave()
	wait()
	n.Settle(t)
}

// Clients that send as fast as they can take turns with all others.
func testFlood(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for name, flood := range map[string][]kit.Frame{
		"echo":       {{Op: ws.OpBinary, Body: pattern(1000)}},
		"pings":      {{Op: ws.OpPing, Body: pattern(125)}},
		"fragments":  {{Op: ws.OpText, More: true}, {Op: ws.OpContinuation, More: true}, {Op: ws.OpContinuation}},
		"large echo": {{Op: ws.OpBinary, Body: pattern(60_000)}},
	} {
		t.Run(name, func(t *testing.T) {
			const floods = 2
			flooding := make([]*kit.Client, floods)
			for i := range flooding {
				flooding[i] = n.Open(t, modes.PathEcho)
			}
			bytes := slices.Repeat(kit.Encode(flood...), 1+64<<10/len(kit.Encode(flood...)))
			var sent atomic.Int64
			writers := kit.Background(t, floods, func(t kit.Tester, i int) {
				for flooding[i].TryWrite(bytes) == nil {
					sent.Add(1)
				}
			})
			readers := kit.Background(t, floods, func(t kit.Tester, i int) {
				for {
					if _, err := flooding[i].TryFrame(); err != nil {
						return
					}
				}
			})
			c := n.Session(t, "news")
			for i := range 20 {
				c.RoundTrip()
				n.Bus.Send("news", strconv.Itoa(i))
				c.ExpectPush("news", strconv.Itoa(i))
			}
			n.Session(t, "news").Leave()
			kit.Await(t, "the flood to go on meanwhile", func() (bool, string) { return sent.Load() > floods, "" })
			for _, f := range flooding {
				f.Leave()
			}
			writers()
			readers()
		})
	}
}

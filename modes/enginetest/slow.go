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
func (n *node) fill(t *testing.T, channel string, healthy *client, frozen int, done func() bool) int {
	t.Helper()
	bound := int64(frozen*n.limits.MaxQueuedBytes + 2*slowPayload)
	deadline := time.Now().Add(patience)
	for i := 0; ; i++ {
		if done() {
			return i
		}
		n.bus.publish(channel, numbered(i))
		healthy.expectPush(channel, numbered(i))
		if got := n.stats.Queued.Load(); got > bound {
			t.Fatalf("%d bytes are queued for %d frozen clients, want at most %d", got, frozen, bound)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d frozen clients were not cut for %d publications", frozen, i)
		}
	}
}

// cut counts the connections that have ended for being slow.
func (n *node) cut(t tester) int {
	t.Helper()
	return count(t, n.stats.Disconnected, wire.DisconnectSlow.Reason)
}

// A client that does not read costs its bound, delays nobody, and is cut.
func testFrozen(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.MaxQueuedBytes = 256 << 10 })
	healthy := n.session(t, "news")
	const frozen = 3
	for range frozen {
		c := n.dialNarrow(t)
		c.handshake(modes.PathCentrifuge)
		c.connect("news")
	}
	n.fill(t, "news", healthy, frozen, func() bool { return n.cut(t) == frozen })
	n.awaitConnections(t, 1)
	await(t, "nothing queued", func() (bool, string) {
		got := n.stats.Queued.Load()
		return got == 0, fmt.Sprint(got)
	})
	await(t, "the healthy client's reference alone", func() (bool, string) {
		got := n.bus.references()
		return got == 1, fmt.Sprint(got)
	})
	n.bus.publish("news", `"still here"`)
	healthy.expectPush("news", `"still here"`)
}

// A client that resumes reading in time gets what was sent before the cut, whole and
// in order, and then the reason.
func testThawed(t *testing.T, build Build) {
	for inTime := false; !inTime; {
		inTime = thaw(t, build)
	}
}

// thaw is one try of testThawed. It reports whether the client read in time:
// within CloseWait, which a busy machine may keep it from.
func thaw(t *testing.T, build Build) (inTime bool) {
	n := start(t, build, func(s *setup) { s.limits.MaxQueuedBytes = 256 << 10 })
	healthy := n.session(t, "news")
	frozen := n.dialNarrow(t)
	frozen.handshake(modes.PathCentrifuge)
	frozen.connect("news")
	// The first publication that is no longer for it shows the decision.
	published := n.fill(t, "news", healthy, 1, func() bool {
		return n.cut(t)+count(t, n.stats.Dropped, wire.DisconnectSlow.Reason) > 0
	})
	decided := time.Now()
	messages, err := frozen.closeLater(int(wire.DisconnectSlow.Code))
	if err != nil {
		if ended(err) && tooLate(decided) {
			return false
		}
		t.Fatalf("read frame: %v", err)
	}
	if len(messages) > published {
		t.Errorf("got %d messages of %d", len(messages), published)
	}
	for i, m := range messages {
		replies, err := decode(wire.JSON, m)
		if err != nil || len(replies) != 1 || string(replies[0].GetPush().GetPub().GetData()) != numbered(i) {
			t.Fatalf("message %d is %s, %v", i, brief(m.body), err)
		}
	}
	n.awaitConnections(t, 1)
	return true
}

// tooLate reports whether a client that began to read at this time may find the
// connection reset, because it has taken most of CloseWait.
func tooLate(began time.Time) bool { return time.Since(began) > modes.CloseWait/2 }

// A client that is slow, but reads, loses nothing while it stays in its bound.
func testWithinBound(t *testing.T, build Build) {
	n := start(t, build, nil)
	raw := n.dialNarrow(t)
	raw.handshake(modes.PathRaw + "?channel=news")
	const messages = 300
	for i := range messages {
		n.bus.publish("news", numbered(i))
		// A few messages late, so that the kernel's small window is always full.
		if i > 10 {
			raw.expect(text(numbered(i - 11)))
		}
	}
	for i := range 11 {
		raw.expect(text(numbered(messages - 11 + i)))
	}
	await(t, "nothing queued", func() (bool, string) {
		got := n.stats.Queued.Load()
		return got == 0, fmt.Sprint(got)
	})
}

// Streams over HTTP are bounded as all others are; one that is read on in time has
// whole messages, in order, up to its end.
func testSlowStreams(t *testing.T, build Build) {
	for path := range streams {
		for _, thaws := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/thaws %t", path, thaws), func(t *testing.T) {
			again:
				n := start(t, build, func(s *setup) { s.limits.MaxQueuedBytes = 256 << 10 })
				healthy := n.session(t, "news")
				frozen := n.dialNarrow(t)
				frozen.openStream(path + "?channel=news")
				published := n.fill(t, "news", healthy, 1, func() bool {
					return n.cut(t)+count(t, n.stats.Dropped, wire.DisconnectSlow.Reason) > 0
				})
				decided, received := time.Now(), 0
				for ; thaws; received++ {
					e, err := frozen.tryEvent()
					if ended(err) && !errors.Is(err, io.EOF) && tooLate(decided) {
						goto again
					}
					if err != nil || e.name != "" {
						if e.name != "" && e.data != `{"code":3008,"reason":"slow"}` {
							t.Errorf("the last event is %q", e)
						}
						if (e.name != "") != (frozen.protocol == wire.SSE) || err != nil && !errors.Is(err, io.EOF) {
							t.Errorf("the stream ends with %q, %v", e.name, err)
						}
						break
					}
					if e.data != numbered(received) {
						t.Fatalf("message %d is %.100q", received, e.data)
					}
				}
				if thaws && (received == 0 || received > published) {
					t.Errorf("got %d messages of %d", received, published)
				}
				n.awaitDisconnects(t, wire.DisconnectSlow.Reason, 1)
				if count(t, n.stats.Dropped, wire.DisconnectSlow.Reason) == 0 {
					t.Errorf("nothing is counted as dropped")
				}
				n.awaitConnections(t, 1)
				n.bus.publish("news", `"still here"`)
				healthy.expectPush("news", `"still here"`)
			})
		}
	}
}

// A client that has much echoed and reads nothing of it is either not read
// from, or cut; the server's memory is bounded in either case.
func testSlowEcho(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.MaxQueuedBytes = 256 << 10 })
	c := n.dialNarrow(t)
	c.handshake(modes.PathEcho)
	message := encode(frame{op: ws.OpBinary, body: pattern(32 << 10)})
	wait := background(t, 1, func(t tester, _ int) {
		for range mostToFill / len(message) {
			if err := c.tryWrite(message); err != nil {
				return
			}
		}
		t.Errorf("the server took %d bytes to be echoed", mostToFill)
	})
	await(t, "the client to be cut, or not to be read from", func() (bool, string) {
		queued := n.stats.Queued.Load()
		if most := int64(n.limits.MaxQueuedBytes + len(message)); queued > most {
			t.Fatalf("%d bytes are queued, want at most %d", queued, most)
		}
		return n.stats.TotalConnections() == 0 || queued > 0, fmt.Sprint(queued)
	})
	c.leave()
	wait()
	n.settle(t)
}

// Clients that send as fast as they can take turns with all others.
func testFlood(t *testing.T, build Build) {
	n := start(t, build, nil)
	for name, flood := range map[string][]frame{
		"echo":       {{op: ws.OpBinary, body: pattern(1000)}},
		"pings":      {{op: ws.OpPing, body: pattern(125)}},
		"fragments":  {{op: ws.OpText, more: true}, {op: ws.OpContinuation, more: true}, {op: ws.OpContinuation}},
		"large echo": {{op: ws.OpBinary, body: pattern(60_000)}},
	} {
		t.Run(name, func(t *testing.T) {
			const floods = 2
			flooding := make([]*client, floods)
			for i := range flooding {
				flooding[i] = n.open(t, modes.PathEcho)
			}
			bytes := slices.Repeat(encode(flood...), 1+64<<10/len(encode(flood...)))
			var sent atomic.Int64
			writers := background(t, floods, func(t tester, i int) {
				for flooding[i].tryWrite(bytes) == nil {
					sent.Add(1)
				}
			})
			readers := background(t, floods, func(t tester, i int) {
				for {
					if _, err := flooding[i].tryFrame(); err != nil {
						return
					}
				}
			})
			c := n.session(t, "news")
			for i := range 20 {
				c.roundTrip()
				n.bus.publish("news", strconv.Itoa(i))
				c.expectPush("news", strconv.Itoa(i))
			}
			n.session(t, "news").leave()
			await(t, "the flood to go on meanwhile", func() (bool, string) { return sent.Load() > floods, "" })
			for _, f := range flooding {
				f.leave()
			}
			writers()
			readers()
		})
	}
}

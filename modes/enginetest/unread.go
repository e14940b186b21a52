package enginetest

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var unreadCases = []suiteCase{
	{"unread/answers", testUnreadAnswers},
	{"unread/drain", testUnreadDrain},
	{"unread/answers to one message", testUnreadExcess},
	{"unread/read later", testUnreadLater},
}

// unread are clients that send what is answered with more, and do not read it.
var unread = map[string]struct {
	change  func(*setup)
	open    func(*client)
	message func() []byte
}{
	"compressed": {
		func(s *setup) { s.compression = true },
		func(c *client) { c.deflate = true; c.handshake(modes.PathCentrifuge); c.connect("news") },
		func() []byte {
			return encode(twenty(compressed(ws.OpText, bytes.Repeat([]byte("{\"id\":1}\n"), 7000)))...)
		},
	},
	"compressed protobuf": {
		func(s *setup) { s.compression = true },
		func(c *client) {
			c.deflate = true
			c.handshake(modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
			c.connect("news")
		},
		func() []byte {
			return encode(twenty(compressed(ws.OpBinary, bytes.Repeat([]byte{2, 8, 1}, 21_000)))...)
		},
	},
	"small bound": {
		func(s *setup) { s.limits.MaxQueuedBytes = 64 << 10 },
		func(c *client) { c.handshake(modes.PathCentrifuge); c.connect("news") },
		func() []byte { return bytes.Repeat(encode(text(`{"id":1}`)), 5000) },
	},
	"large messages": {
		func(s *setup) { s.limits.MaxMessageSize = 512 << 10 },
		func(c *client) { c.handshake(modes.PathCentrifuge); c.connect("news") },
		func() []byte { return encode(text(strings.Repeat("{\"id\":1}\n", 512<<10/9))) },
	},
	"large echo": {
		func(s *setup) { s.limits.MaxMessageSize = 8 << 20 },
		func(c *client) { c.handshake(modes.PathEcho) },
		func() []byte { return encode(frame{op: ws.OpBinary, body: pattern(6 << 20)}) },
	},
	"pings": {
		func(s *setup) { s.limits.MaxQueuedBytes = 64 << 10 },
		func(c *client) { c.handshake(modes.PathRaw + "?channel=news") },
		func() []byte { return bytes.Repeat(encode(frame{op: ws.OpPing, body: pattern(125)}), 1000) },
	},
}

func twenty(f frame) []frame {
	frames := make([]frame, 20)
	for i := range frames {
		frames[i] = f
	}
	return frames
}

// knownEndings are what a connection may be counted as that did not read, or of
// whose client nothing is known.
var knownEndings = []string{
	wire.DisconnectSlow.Reason, wire.DisconnectShutdown.Reason, wire.DisconnectNoPong.Reason,
	wire.DisconnectTooManyRequests.Reason, wire.DisconnectBadRequest.Reason, wire.DisconnectForce.Reason,
	wire.DisconnectInsufficient.Reason, wire.DisconnectProtocol.Reason, wire.DisconnectStale.Reason,
	modes.ReasonClientClosed, modes.ReasonNoClose, modes.ReasonReset,
}

// awaitKnownEndings waits until want connections have ended, each for a known
// reason.
func (n *node) awaitKnownEndings(t tester, want int) {
	t.Helper()
	await(t, fmt.Sprintf("%d connections to end", want), func() (bool, string) {
		sum, seen := 0, ""
		for _, reason := range knownEndings {
			if got := count(t, n.stats.Disconnected, reason); got > 0 {
				sum += got
				seen += fmt.Sprintf("%s: %d; ", reason, got)
			}
		}
		return sum == want, seen
	})
}

// sendUnread opens a client and has it send without reading, until it is closed or
// has sent more than a server may take. It returns once something waits for the
// client, or the server has ended it.
func (n *node) sendUnread(t *testing.T, name string, most int64) (c *client, wait func()) {
	t.Helper()
	c = n.dialNarrow(t)
	unread[name].open(c)
	message := unread[name].message()
	before := n.stats.TotalConnections()
	wait = background(t, 1, func(t tester, _ int) {
		for range 1 + mostToFill/len(message) {
			if c.tryWrite(message) != nil {
				return
			}
		}
		if n.stats.Queued.Load() > most {
			t.Errorf("the server took %d bytes whose answers were not read", mostToFill)
		}
	})
	await(t, "bytes to wait, or the end", func() (bool, string) {
		return n.stats.Queued.Load() > 0 || n.stats.TotalConnections() < before, "neither"
	})
	return c, wait
}

// A client that sends and does not read costs a bounded amount and delays nobody.
func testUnreadAnswers(t *testing.T, build Build) {
	for name, u := range unread {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, build, u.change)
			healthy := n.session(t, "news")
			most := int64(n.limits.MaxQueuedBytes + 2*n.limits.MaxMessageSize)
			c, wait := n.sendUnread(t, name, most)
			for i := range 50 {
				n.bus.publish("news", fmt.Sprint(i))
				healthy.expectPush("news", fmt.Sprint(i))
				healthy.roundTrip()
				if got := n.stats.Queued.Load(); got > most {
					t.Fatalf("%d bytes are queued, want at most %d", got, most)
				}
			}
			c.reset()
			wait()
			healthy.leave()
			n.settle(t)
			n.awaitKnownEndings(t, 2)
		})
	}
}

// Nor does it keep a node from ending.
func testUnreadDrain(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.limits.MaxQueuedBytes, s.limits.MaxMessageSize, s.compression = 64<<10, 8<<20, true
	})
	var waits []func()
	for name := range unread {
		_, wait := n.sendUnread(t, name, math.MaxInt64)
		waits = append(waits, wait)
	}
	n.bus.publish("news", sized(1, 4<<20))
	if err := n.drain(t.Context(), t, 50*time.Millisecond)(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	for _, wait := range waits {
		wait()
	}
	n.settle(t)
	n.awaitKnownEndings(t, len(unread))
}

// The answers to one message are bounded as what waits for a client is, whether it
// reads them or not. One answer may be as large as its message.
func testUnreadExcess(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.MaxQueuedBytes = 8 << 10 })
	c := n.session(t, "news")
	command := "{\"id\":1,\"ping\":{}}\n"
	answers := 8<<10/len(`..{"id":1,"ping":{}}`) - 1
	c.send(text(strings.Repeat(command, answers)))
	for range answers {
		if r := c.next(); r.Ping == nil {
			t.Fatalf("got %s, want the reply to a ping", show(r))
		}
	}
	c.roundTrip()
	c.send(text(strings.Repeat(command, 2*answers)))
	c.expectCloseLater(int(wire.DisconnectSlow.Code))
	n.awaitDisconnects(t, wire.DisconnectSlow.Reason, 1)

	echo := n.open(t, modes.PathEcho)
	for range 3 {
		echo.send(frame{op: ws.OpBinary, body: pattern(60_000)})
		echo.expect(frame{op: ws.OpBinary, body: pattern(60_000)})
	}
}

// A client that sends much before it reads gets all answers, in order: it is held
// up, not cut.
func testUnreadLater(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.MaxQueuedBytes, s.compression = 64<<10, true })
	const messages, each = 3000, 40
	for name, prepare := range map[string]func(*client) func(frame) frame{
		"plain": func(*client) func(frame) frame { return func(f frame) frame { return f } },
		"deflated": func(c *client) func(frame) frame {
			c.deflate = true
			return func(f frame) frame { return compressed(f.op, f.body) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.dialNarrow(t)
			pack := prepare(c)
			c.handshake(modes.PathCentrifuge)
			c.connect("news")
			wait := background(t, 1, func(t tester, _ int) {
				for i := range messages {
					var lines strings.Builder
					for j := range each {
						fmt.Fprintf(&lines, "{\"id\":%d,\"ping\":{}}\n", 10+i*each+j)
					}
					// Several in a segment, so that they are read together.
					if err := c.tryWrite(encode(pack(text(lines.String())))); err != nil {
						t.Fatalf("write: %v", err)
					}
				}
			})
			await(t, "bytes to wait", func() (bool, string) { return n.stats.Queued.Load() > 0, "none" })
			for i := range messages * each {
				if r := c.next(); r.Id != uint32(10+i) || r.Ping == nil {
					t.Fatalf("got %s, want the reply %d", show(r), 10+i)
				}
			}
			wait()
		})
	}
}

// testRandomEndings ends connections in the middle of everything, in a random
// order.
func testRandomEndings(t *testing.T, build Build) {
	before := measure(t)
	// The node ends with its subtest.
	t.Run("node", func(t *testing.T) { randomEndings(t, build) })
	awaitUsage(t, before, 0)
}

const endingClients = 24

func randomEndings(t *testing.T, build Build) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	n := start(t, build, func(s *setup) {
		s.limits.MaxQueuedBytes = []int{64 << 10, 256 << 10}[seed%2]
		s.limits.MaxMessageSize, s.compression = 512<<10, true
	})
	healthy := n.session(t, "news")
	ways := []func(*client){}
	for _, open := range receivers {
		ways = append(ways, open)
	}
	ways = append(ways, func(c *client) { c.handshake(modes.PathEcho) })
	clients := make([]*client, endingClients)
	for i := range clients {
		clients[i] = n.dialNarrow(t)
		ways[i%len(ways)](clients[i])
	}
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		random := rand.New(rand.NewPCG(seed, 0))
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			switch random.IntN(40) {
			case 0:
				n.bus.lost("news")
			case 1:
				n.bus.publish("news", sized(i, 400_000))
			default:
				n.bus.publish("news", sized(i, 100+random.IntN(20_000)))
			}
		}
	})
	together(t, endingClients, func(t tester, i int) {
		c := clients[i]
		c.t = t
		c.misbehave(rand.New(rand.NewPCG(seed, uint64(i+1))))
	})
	other := n.session(t, "other")
	for i := range 20 {
		n.bus.publish("other", fmt.Sprint(i))
		other.expectPush("other", fmt.Sprint(i))
		other.roundTrip()
	}
	drained := n.drain(t.Context(), t, 50*time.Millisecond)
	wait := background(t, 2, func(t tester, i int) {
		c := []*client{healthy, other}[i]
		for {
			f, err := c.tryFrame()
			if err != nil || f.op == ws.OpClose {
				c.leave()
				return
			}
		}
	})
	err := drained()
	close(stop)
	publishing.Wait()
	wait()
	if err != nil {
		t.Errorf("Drain: %v", err)
	}
	for _, c := range clients {
		c.leave()
	}
	n.settle(t)
	n.awaitKnownEndings(t, endingClients+2)
}

// misbehave does what a client may do, and some of what it may not, in a random
// order.
func (c *client) misbehave(random *rand.Rand) {
	session, framed := c.protocol.Session(), !c.protocol.OverHTTP()
	kind := ws.OpText
	lines := func(n int) []byte { return bytes.Repeat([]byte("{\"id\":7}\n"), n) }
	if c.protocol == wire.Protobuf {
		kind = ws.OpBinary
		lines = func(n int) []byte { return bytes.Repeat([]byte{2, 8, 7}, n) }
	}
	pack := func(body []byte) frame {
		if c.deflate {
			return compressed(kind, body)
		}
		return frame{op: kind, body: body}
	}
	command := func(command *protocol.Command) []byte {
		command.Id = 3
		return encode(c.encodePlain(command))
	}
	for range 3 + random.IntN(12) {
		var b []byte
		switch op := random.IntN(14); {
		case op == 0 && framed:
			b = encode(frame{op: ws.OpPing, body: pattern(random.IntN(126))})
		case op == 1 && framed:
			b = bytes.Repeat(encode(frame{op: ws.OpPing, body: pattern(125)}), 500)
		case op <= 3 && framed:
			b = bytes.Repeat(encode(pack(lines(1+random.IntN(3000)))), 1+random.IntN(10))
		case op == 4 && session:
			b = command(subscribeTo("other"))
		case op == 5 && session:
			b = append(command(unsubscribeFrom("news")), command(subscribeTo("news"))...)
		case op == 6 && random.IntN(4) == 0 && framed:
			// Half a frame, with which the client ends.
			b = encode(pack(lines(3000)))
			_ = c.tryWrite(b[:len(b)/2])
			return
		case op == 7 && random.IntN(3) == 0 && framed:
			b = append(encode(closing(1000, "")), encode(pack(lines(10)))...)
		case op == 8 && random.IntN(3) == 0:
			_ = c.conn.CloseWrite()
			return
		case op == 9 && random.IntN(4) == 0:
			c.reset()
			return
		case op == 10 && random.IntN(4) == 0:
			c.leave()
			return
		case op == 11 && random.IntN(3) == 0 && framed:
			b = append(encode(pack(lines(1000))), encode(frame{op: ws.OpText, unmasked: true})...)
		default:
			// A little, so that the server goes on.
			_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, _ = c.in.Discard(1 + random.IntN(30_000))
		}
		if len(b) > 0 {
			_ = c.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := c.conn.Write(b); err != nil {
				return
			}
		}
	}
}

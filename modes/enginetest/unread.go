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
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
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
	change  func(*kit.Setup)
	open    func(*kit.Client)
	message func() []byte
}{
	"compressed": {
		func(s *kit.Setup) { s.Compression = true },
		func(c *kit.Client) { c.Deflate = true; c.Handshake(modes.PathCentrifuge); c.Connect("news") },
		func() []byte {
			return kit.Encode(twenty(kit.Compressed(ws.OpText, bytes.Repeat([]byte("{\"id\":1}\n"), 7000)))...)
		},
	},
	"compressed protobuf": {
		func(s *kit.Setup) { s.Compression = true },
		func(c *kit.Client) {
			c.Deflate = true
			c.Handshake(modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
			c.Connect("news")
		},
		func() []byte {
			return kit.Encode(twenty(kit.Compressed(ws.OpBinary, bytes.Repeat([]byte{2, 8, 1}, 21_000)))...)
		},
	},
	"small bound": {
		func(s *kit.Setup) { s.Limits.MaxQueuedBytes = 64 << 10 },
		func(c *kit.Client) { c.Handshake(modes.PathCentrifuge); c.Connect("news") },
		func() []byte { return bytes.Repeat(kit.Encode(kit.Text(`{"id":1}`)), 5000) },
	},
	"large messages": {
		func(s *kit.Setup) { s.Limits.MaxMessageSize = 512 << 10 },
		func(c *kit.Client) { c.Handshake(modes.PathCentrifuge); c.Connect("news") },
		func() []byte { return kit.Encode(kit.Text(strings.Repeat("{\"id\":1}\n", 512<<10/9))) },
	},
	"large echo": {
		func(s *kit.Setup) { s.Limits.MaxMessageSize = 8 << 20 },
		func(c *kit.Client) { c.Handshake(modes.PathEcho) },
		func() []byte { return kit.Encode(kit.Frame{Op: ws.OpBinary, Body: pattern(6 << 20)}) },
	},
	"pings": {
		func(s *kit.Setup) { s.Limits.MaxQueuedBytes = 64 << 10 },
		func(c *kit.Client) { c.Handshake(modes.PathRaw + "?channel=news") },
		func() []byte { return bytes.Repeat(kit.Encode(kit.Frame{Op: ws.OpPing, Body: pattern(125)}), 1000) },
	},
}

func twenty(f kit.Frame) []kit.Frame {
	frames := make([]kit.Frame, 20)
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
func awaitKnownEndings(n *kit.Node, t kit.Tester, want int) {
	t.Helper()
	kit.Await(t, fmt.Sprintf("%d connections to end", want), func() (bool, string) {
		sum, seen := 0, ""
		for _, reason := range knownEndings {
			if got := kit.Count(t, n.Stats.Disconnected, reason); got > 0 {
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
func sendUnread(n *kit.Node, t *testing.T, name string, most int64) (c *kit.Client, wait func()) {
	t.Helper()
	c = n.DialNarrow(t)
	unread[name].open(c)
	message := unread[name].message()
	before := n.Stats.TotalConnections()
	wait = kit.Background(t, 1, func(t kit.Tester, _ int) {
		for range 1 + mostToFill/len(message) {
			if c.TryWrite(message) != nil {
				return
			}
		}
		if n.Stats.Queued.Load() > most {
			t.Errorf("the server took %d bytes whose answers were not read", mostToFill)
		}
	})
	kit.Await(t, "bytes to wait, or the end", func() (bool, string) {
		return n.Stats.Queued.Load() > 0 || n.Stats.TotalConnections() < before, "neither"
	})
	return c, wait
}

// A client that sends and does not read costs a bounded amount and delays nobody.
func testUnreadAnswers(t *testing.T, build kit.Build) {
	for name, u := range unread {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := kit.Start(t, build, u.change)
			healthy := n.Session(t, "news")
			most := int64(n.Limits.MaxQueuedBytes + 2*n.Limits.MaxMessageSize)
			c, wait := sendUnread(n, t, name, most)
			for i := range 50 {
				n.Bus.Send("news", fmt.Sprint(i))
				healthy.ExpectPush("news", fmt.Sprint(i))
				healthy.RoundTrip()
				if got := n.Stats.Queued.Load(); got > most {
					t.Fatalf("%d bytes are queued, want at most %d", got, most)
				}
			}
			c.Reset()
			wait()
			healthy.Leave()
			n.Settle(t)
			awaitKnownEndings(n, t, 2)
		})
	}
}

// Nor does it keep a node from ending.
func testUnreadDrain(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Limits.MaxQueuedBytes, s.Limits.MaxMessageSize, s.Compression = 64<<10, 8<<20, true
	})
	var waits []func()
	for name := range unread {
		_, wait := sendUnread(n, t, name, math.MaxInt64)
		waits = append(waits, wait)
	}
	n.Bus.Send("news", sized(1, 4<<20))
	if err := n.Drain(t.Context(), t, 50*time.Millisecond)(); err != nil {
		t.Errorf("Drain: %v", err)
	}
	for _, wait := range waits {
		wait()
	}
	n.Settle(t)
	awaitKnownEndings(n, t, len(unread))
}

// The answers to one message are bounded as what waits for a client is, whether it
// reads them or not. One answer may be as large as its message.
func testUnreadExcess(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.MaxQueuedBytes = 8 << 10 })
	c := n.Session(t, "news")
	command := "{\"id\":1,\"ping\":{}}\n"
	answers := 8<<10/len(`..{"id":1,"ping":{}}`) - 1
	c.Send(kit.Text(strings.Repeat(command, answers)))
	for range answers {
		if r := c.Next(); r.Ping == nil {
			t.Fatalf("got %s, want the reply to a ping", kit.Show(r))
		}
	}
	c.RoundTrip()
	c.Send(kit.Text(strings.Repeat(command, 2*answers)))
	c.ExpectCloseLater(int(wire.DisconnectSlow.Code))
	n.AwaitDisconnects(t, wire.DisconnectSlow.Reason, 1)

	echo := n.Open(t, modes.PathEcho)
	for range 3 {
		echo.Send(kit.Frame{Op: ws.OpBinary, Body: pattern(60_000)})
		echo.Expect(kit.Frame{Op: ws.OpBinary, Body: pattern(60_000)})
	}
}

// A client that sends much before it reads gets all answers, in order: it is held
// up, not cut.
func testUnreadLater(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.MaxQueuedBytes, s.Compression = 64<<10, true })
	const messages, each = 3000, 40
	for name, prepare := range map[string]func(*kit.Client) func(kit.Frame) kit.Frame{
		"plain": func(*kit.Client) func(kit.Frame) kit.Frame { return func(f kit.Frame) kit.Frame { return f } },
		"deflated": func(c *kit.Client) func(kit.Frame) kit.Frame {
			c.Deflate = true
			return func(f kit.Frame) kit.Frame { return kit.Compressed(f.Op, f.Body) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.DialNarrow(t)
			pack := prepare(c)
			c.Handshake(modes.PathCentrifuge)
			c.Connect("news")
			wait := kit.Background(t, 1, func(t kit.Tester, _ int) {
				for i := range messages {
					var lines strings.Builder
					for j := range each {
						fmt.Fprintf(&lines, "{\"id\":%d,\"ping\":{}}\n", 10+i*each+j)
					}
					// Several in a segment, so that they are read together.
					if err := c.TryWrite(kit.Encode(pack(kit.Text(lines.String())))); err != nil {
						t.Fatalf("write: %v", err)
					}
				}
			})
			kit.Await(t, "bytes to wait", func() (bool, string) { return n.Stats.Queued.Load() > 0, "none" })
			for i := range messages * each {
				if r := c.Next(); r.Id != uint32(10+i) || r.Ping == nil {
					t.Fatalf("got %s, want the reply %d", kit.Show(r), 10+i)
				}
			}
			wait()
		})
	}
}

// testRandomEndings ends connections in the middle of everything, in a random
// order.
func testRandomEndings(t *testing.T, build kit.Build) {
	before := measure(t)
	// The node ends with its subtest.
	t.Run("node", func(t *testing.T) { randomEndings(t, build) })
	awaitUsage(t, before, 0)
}

const endingClients = 24

func randomEndings(t *testing.T, build kit.Build) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Limits.MaxQueuedBytes = []int{64 << 10, 256 << 10}[seed%2]
		s.Limits.MaxMessageSize, s.Compression = 512<<10, true
	})
	healthy := n.Session(t, "news")
	ways := []func(*kit.Client){}
	for _, open := range receivers {
		ways = append(ways, open)
	}
	ways = append(ways, func(c *kit.Client) { c.Handshake(modes.PathEcho) })
	clients := make([]*kit.Client, endingClients)
	for i := range clients {
		clients[i] = n.DialNarrow(t)
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
				n.Bus.Lost("news")
			case 1:
				n.Bus.Send("news", sized(i, 400_000))
			default:
				n.Bus.Send("news", sized(i, 100+random.IntN(20_000)))
			}
		}
	})
	kit.Together(t, endingClients, func(t kit.Tester, i int) {
		c := clients[i]
		c.T = t
		misbehave(c, rand.New(rand.NewPCG(seed, uint64(i+1))))
	})
	other := n.Session(t, "other")
	for i := range 20 {
		n.Bus.Send("other", fmt.Sprint(i))
		other.ExpectPush("other", fmt.Sprint(i))
		other.RoundTrip()
	}
	drained := n.Drain(t.Context(), t, 50*time.Millisecond)
	wait := kit.Background(t, 2, func(t kit.Tester, i int) {
		c := []*kit.Client{healthy, other}[i]
		for {
			f, err := c.TryFrame()
			if err != nil || f.Op == ws.OpClose {
				c.Leave()
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
		c.Leave()
	}
	n.Settle(t)
	awaitKnownEndings(n, t, endingClients+2)
}

// misbehave does what a client may do, and some of what it may not, in a random
// order.
func misbehave(c *kit.Client, random *rand.Rand) {
	session, framed := c.Protocol.Session(), !c.Protocol.OverHTTP()
	kind := ws.OpText
	lines := func(n int) []byte { return bytes.Repeat([]byte("{\"id\":7}\n"), n) }
	if c.Protocol == wire.Protobuf {
		kind = ws.OpBinary
		lines = func(n int) []byte { return bytes.Repeat([]byte{2, 8, 7}, n) }
	}
	pack := func(body []byte) kit.Frame {
		if c.Deflate {
			return kit.Compressed(kind, body)
		}
		return kit.Frame{Op: kind, Body: body}
	}
	command := func(command *protocol.Command) []byte {
		command.Id = 3
		return kit.Encode(c.EncodePlain(command))
	}
	for range 3 + random.IntN(12) {
		var b []byte
		switch op := random.IntN(14); {
		case op == 0 && framed:
			b = kit.Encode(kit.Frame{Op: ws.OpPing, Body: pattern(random.IntN(126))})
		case op == 1 && framed:
			b = bytes.Repeat(kit.Encode(kit.Frame{Op: ws.OpPing, Body: pattern(125)}), 500)
		case op <= 3 && framed:
			b = bytes.Repeat(kit.Encode(pack(lines(1+random.IntN(3000)))), 1+random.IntN(10))
		case op == 4 && session:
			b = command(subscribeTo("other"))
		case op == 5 && session:
			b = append(command(unsubscribeFrom("news")), command(subscribeTo("news"))...)
		case op == 6 && random.IntN(4) == 0 && framed:
			// Half a frame, with which the client ends.
			b = kit.Encode(pack(lines(3000)))
			_ = c.TryWrite(b[:len(b)/2])
			return
		case op == 7 && random.IntN(3) == 0 && framed:
			b = append(kit.Encode(kit.Closing(1000, "")), kit.Encode(pack(lines(10)))...)
		case op == 8 && random.IntN(3) == 0:
			_ = c.Conn.CloseWrite()
			return
		case op == 9 && random.IntN(4) == 0:
			c.Reset()
			return
		case op == 10 && random.IntN(4) == 0:
			c.Leave()
			return
		case op == 11 && random.IntN(3) == 0 && framed:
			b = append(kit.Encode(pack(lines(1000))), kit.Encode(kit.Frame{Op: ws.OpText, Unmasked: true})...)
		default:
			// A little, so that the server goes on.
			_ = c.Conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, _ = c.In.Discard(1 + random.IntN(30_000))
		}
		if len(b) > 0 {
			_ = c.Conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := c.Conn.Write(b); err != nil {
				return
			}
		}
	}
}

package enginetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var largeCases = []suiteCase{
	{"large/goes through if nothing waits", testLargeAlone},
	{"large/slow if something waits", testLargeBehind},
	{"large/commands meanwhile", testLargeCommands},
	{"large/nobody reads it", testLargeUnread},
	{"large/a slow line is pinged", testLargeSlowLine},
	{"large/half-closed while it waits", testLargeHalfClosed},
}

// sized is a publication of about size bytes, which does not compress well and
// says which it is.
func sized(i, size int) string {
	body := make([]byte, size-12)
	state := uint32(i + 1)
	for j := range body {
		state = state*1664525 + 1013904223
		body[j] = 'a' + byte(state>>24)%26
	}
	return fmt.Sprintf(`"%09d%s"`, i, body)
}

// pacedReader reads slowly until it is told not to.
type pacedReader struct {
	io.Reader
	until atomic.Pointer[time.Time]
}

func (p *pacedReader) Read(b []byte) (int, error) {
	if until := p.until.Load(); until != nil && time.Now().Before(*until) {
		time.Sleep(10 * time.Millisecond)
		b = b[:min(len(b), 4<<10)]
	}
	return p.Reader.Read(b)
}

// slowly has the client read as from a slow line for d.
func (p *pacedReader) slowly(d time.Duration) {
	until := time.Now().Add(d)
	p.until.Store(&until)
}

// dialPaced is dialNarrow for a client that can be told to read slowly.
func (n *node) dialPaced(t tester) (*client, *pacedReader) {
	t.Helper()
	c := n.dialNarrow(t)
	p := &pacedReader{Reader: c.conn}
	c.in = bufio.NewReader(p)
	return c, p
}

// receivers are the ways to be pushed publications: each opens a client of news.
var receivers = map[string]func(c *client){
	"json": func(c *client) { c.handshake(modes.PathCentrifuge); c.connect("news") },
	"json, deflate": func(c *client) {
		c.deflate = true
		c.handshake(modes.PathCentrifuge)
		c.connect("news")
	},
	"protobuf": func(c *client) {
		c.handshake(modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
		c.connect("news")
	},
	"raw":    func(c *client) { c.handshake(modes.PathRaw + "?channel=news") },
	"sse":    func(c *client) { c.openStream(modes.PathSSE + "?channel=news") },
	"stream": func(c *client) { c.openStream(modes.PathStream + "?channel=news") },
}

// expectData reads the next publication, in the client's own protocol.
func (c *client) expectData(data string) {
	c.t.Helper()
	switch {
	case c.protocol.OverHTTP():
		c.expectEvent(data)
	case c.protocol == wire.Raw:
		if m := c.message(); string(m.body) != data {
			c.t.Fatalf("got %s, want %s", brief(m.body), brief([]byte(data)))
		}
	default:
		c.expectPush("news", data)
	}
}

// eachReceiver runs f for each way to be pushed publications.
func eachReceiver(t *testing.T, f func(t *testing.T, open func(*client))) {
	for name, open := range receivers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open)
		})
	}
}

// A publication that is larger than MaxQueuedBytes reaches every client that has
// taken what came before, however slowly it reads, with what comes in front of it
// and what comes behind it within the bound.
func testLargeAlone(t *testing.T, build Build) {
	eachReceiver(t, func(t *testing.T, open func(*client)) {
		n := start(t, build, func(s *setup) {
			s.limits.MaxQueuedBytes, s.compression = 64<<10, true
		})
		c, pace := n.dialPaced(t)
		open(c)
		for round := range 5 {
			size := 300_000 * (round + 1)
			pace.slowly(50 * time.Millisecond)
			for i, data := range []string{`"before"`, sized(round, size), `"behind"`, sized(9, 20_000)} {
				n.bus.publish("news", data)
				if i == 1 {
					n.bus.flush()
				}
			}
			for _, data := range []string{`"before"`, sized(round, size), `"behind"`, sized(9, 20_000)} {
				c.expectData(data)
			}
			await(t, "nothing queued", func() (bool, string) {
				got := n.stats.Queued.Load()
				return got == 0, fmt.Sprint(got)
			})
		}
		if got := n.cut(t); got != 0 {
			t.Errorf("%d clients were taken for slow", got)
		}
	})
}

// Behind something that its client does not take, it is too much.
func testLargeBehind(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.limits.MaxQueuedBytes, s.compression = 64<<10, true
	})
	for _, open := range receivers {
		open(n.dialNarrow(t))
	}
	// More than any kernel buffers for a client that does not read.
	const size = 16 << 20
	n.bus.publish("news", sized(1, size))
	n.bus.publish("news", `"within the bound"`)
	n.bus.flush()
	await(t, "bytes to wait for all", func() (bool, string) {
		got := n.stats.Queued.Load()
		return got > int64(len(receivers)-1)*size, fmt.Sprint(got)
	})
	if got := n.cut(t); got != 0 {
		t.Fatalf("%d clients were taken for slow for a large publication", got)
	}
	n.bus.publish("news", sized(2, 100_000))
	n.awaitDisconnects(t, wire.DisconnectSlow.Reason, len(receivers))
	n.settle(t)
}

// What a client sends while a large publication is on its way to it is answered
// behind that, and its time-outs wait for it.
func testLargeCommands(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.dialNarrow(t)
	c.handshake(modes.PathCentrifuge)
	c.connect("news")
	const size = 8 << 20
	n.bus.publish("news", sized(1, size))
	await(t, "bytes to wait", func() (bool, string) { return n.stats.Queued.Load() > 0, "none" })
	const commands = 20
	var ids []uint32
	for range commands {
		ids = append(ids, c.post(&protocol.Command{Ping: &protocol.PingRequest{}}))
	}
	other := n.session(t, "news")
	n.bus.publish("news", `"small"`)
	other.expectPush("news", `"small"`)
	other.leave()
	c.expectPush("news", sized(1, size))
	for _, id := range ids {
		if r := c.reply(id); r.Ping == nil {
			t.Fatalf("got %s, want the reply to a ping", show(r))
		}
	}
	c.expectPush("news", `"small"`)
	c.roundTrip()
	c.send(closing(1000, ""))
	c.expectCloseLater(1000)
}

// A client that goes away in the middle of it, or never reads, leaves nothing
// behind.
func testLargeUnread(t *testing.T, build Build) {
	for name, vanish := range vanishing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, build, nil)
			c := n.dialNarrow(t)
			c.handshake(modes.PathCentrifuge)
			c.connect("news")
			n.bus.publish("news", sized(1, 8<<20))
			await(t, "bytes to wait", func() (bool, string) { return n.stats.Queued.Load() > 0, "none" })
			for range 5 {
				c.post(&protocol.Command{Ping: &protocol.PingRequest{}})
			}
			vanish(c)
			n.settle(t)
		})
	}
	t.Run("drain", func(t *testing.T) {
		t.Parallel()
		n := start(t, build, nil)
		c := n.dialNarrow(t)
		c.handshake(modes.PathCentrifuge)
		c.connect("news")
		n.bus.publish("news", sized(1, 8<<20))
		await(t, "bytes to wait", func() (bool, string) { return n.stats.Queued.Load() > 0, "none" })
		for range 5 {
			c.post(&protocol.Command{Ping: &protocol.PingRequest{}})
		}
		if err := n.drain(t.Context(), t, 0)(); err != nil {
			t.Errorf("Drain: %v", err)
		}
		n.settle(t)
	})
}

// allReceivers runs f beside itself for a client of each way to be pushed
// publications, all on one node, which has opened them before f begins.
func (n *node) allReceivers(t *testing.T, which []string, begun func(), f func(c *client, pace *pacedReader)) {
	t.Helper()
	clients, paces := make([]*client, len(which)), make([]*pacedReader, len(which))
	for i, name := range which {
		clients[i], paces[i] = n.dialPaced(t)
		receivers[name](clients[i])
	}
	begun()
	together(t, len(which), func(t tester, i int) {
		clients[i].t = t
		f(clients[i], paces[i])
	})
}

// While bytes of a large publication still arrive, a client cannot answer a ping
// and need not; it is not closed for that.
func testLargeSlowLine(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.limits.PingInterval, s.limits.PongTimeout = 6*time.Second, 5*time.Second
	})
	const size = 8 << 20
	n.allReceivers(t, []string{"json", "protobuf", "raw"}, func() { n.bus.publish("news", sized(1, size)) },
		func(c *client, pace *pacedReader) {
			pace.slowly(n.limits.PingInterval + 2*n.limits.PongTimeout)
			// No ping but behind the publication.
			c.expectData(sized(1, size))
			if c.protocol.Session() {
				c.roundTrip()
				return
			}
			c.send(frame{op: ws.OpPing, body: []byte("round trip")})
			for {
				switch f := c.frame(); f.op {
				case ws.OpPing:
					c.send(frame{op: ws.OpPong, body: f.body})
				case ws.OpPong:
					return
				default:
					c.t.Fatalf("got frame op %#x %s, want a pong", f.op, closeText(f))
				}
			}
		})
}

// A client that shuts down its side takes what waits for it all the same.
func testLargeHalfClosed(t *testing.T, build Build) {
	for _, size := range []int{8 << 20, 200_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			n := start(t, build, func(s *setup) { s.limits.MaxQueuedBytes, s.compression = 16<<20, true })
			count := 8 << 20 / size
			n.allReceivers(t, slices.Collect(maps.Keys(receivers)), func() {
				for i := range count {
					n.bus.publish("news", sized(i, size))
				}
				n.bus.flush()
			}, func(c *client, pace *pacedReader) {
				if err := c.conn.CloseWrite(); err != nil {
					c.t.Fatalf("half-close: %v", err)
				}
				// Longer than a connection may take to close if its client is
				// not receiving.
				pace.slowly(modes.CloseWait + time.Second)
				for i := range count {
					c.expectData(sized(i, size))
				}
				if !c.protocol.OverHTTP() {
					c.expectCleanEnd()
				} else if e, err := c.tryEvent(); !errors.Is(err, io.EOF) {
					c.t.Fatalf("got %.100q, %v, want the end of the stream", e, err)
				}
			})
			n.settle(t)
		})
	}
}

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
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
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

// dialPaced is DialNarrow for a client that can be told to read slowly.
func dialPaced(n *kit.Node, t kit.Tester) (*kit.Client, *pacedReader) {
	t.Helper()
	c := n.DialNarrow(t)
	p := &pacedReader{Reader: c.Conn}
	c.In = bufio.NewReader(p)
	return c, p
}

// receivers are the ways to be pushed publications: each opens a client of news.
var receivers = map[string]func(c *kit.Client){
	"json": func(c *kit.Client) { c.Handshake(modes.PathCentrifuge); c.Connect("news") },
	"json, deflate": func(c *kit.Client) {
		c.Deflate = true
		c.Handshake(modes.PathCentrifuge)
		c.Connect("news")
	},
	"protobuf": func(c *kit.Client) {
		c.Handshake(modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
		c.Connect("news")
	},
	"raw":    func(c *kit.Client) { c.Handshake(modes.PathRaw + "?channel=news") },
	"sse":    func(c *kit.Client) { c.OpenStream(modes.PathSSE + "?channel=news") },
	"stream": func(c *kit.Client) { c.OpenStream(modes.PathStream + "?channel=news") },
}

// expectData reads the next publication, in the client's own protocol.
func expectData(c *kit.Client, data string) {
	c.T.Helper()
	switch {
	case c.Protocol.OverHTTP():
		c.ExpectEvent(data)
	case c.Protocol == wire.Raw:
		if m := c.Message(); string(m.Body) != data {
			c.T.Fatalf("got %s, want %s", kit.Brief(m.Body), kit.Brief([]byte(data)))
		}
	default:
		c.ExpectPush("news", data)
	}
}

// eachReceiver runs f for each way to be pushed publications.
func eachReceiver(t *testing.T, f func(t *testing.T, open func(*kit.Client))) {
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
func testLargeAlone(t *testing.T, build kit.Build) {
	eachReceiver(t, func(t *testing.T, open func(*kit.Client)) {
		n := kit.Start(t, build, func(s *kit.Setup) {
			s.Limits.MaxQueuedBytes, s.Compression = 64<<10, true
		})
		c, pace := dialPaced(n, t)
		open(c)
		for round := range 5 {
			size := 300_000 * (round + 1)
			pace.slowly(50 * time.Millisecond)
			for i, data := range []string{`"before"`, sized(round, size), `"behind"`, sized(9, 20_000)} {
				n.Bus.Send("news", data)
				if i == 1 {
					n.Bus.Flush()
				}
			}
			for _, data := range []string{`"before"`, sized(round, size), `"behind"`, sized(9, 20_000)} {
				expectData(c, data)
			}
			kit.Await(t, "nothing queued", func() (bool, string) {
				got := n.Stats.Queued.Load()
				return got == 0, fmt.Sprint(got)
			})
		}
		if got := n.Cut(t); got != 0 {
			t.Errorf("%d clients were taken for slow", got)
		}
	})
}

// Behind something that its client does not take, it is too much.
func testLargeBehind(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Limits.MaxQueuedBytes, s.Compression = 64<<10, true
	})
	for _, open := range receivers {
		open(n.DialNarrow(t))
	}
	// More than any kernel buffers for a client that does not read.
	const size = 16 << 20
	n.Bus.Send("news", sized(1, size))
	n.Bus.Send("news", `"within the bound"`)
	n.Bus.Flush()
	kit.Await(t, "bytes to wait for all", func() (bool, string) {
		got := n.Stats.Queued.Load()
		return got > int64(len(receivers)-1)*size, fmt.Sprint(got)
	})
	if got := n.Cut(t); got != 0 {
		t.Fatalf("%d clients were taken for slow for a large publication", got)
	}
	n.Bus.Send("news", sized(2, 100_000))
	n.AwaitDisconnects(t, wire.DisconnectSlow.Reason, len(receivers))
	n.Settle(t)
}

// What a client sends while a large publication is on its way to it is answered
// behind that, and its time-outs wait for it.
func testLargeCommands(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.DialNarrow(t)
	c.Handshake(modes.PathCentrifuge)
	c.Connect("news")
	const size = 8 << 20
	n.Bus.Send("news", sized(1, size))
	kit.Await(t, "bytes to wait", func() (bool, string) { return n.Stats.Queued.Load() > 0, "none" })
	const commands = 20
	var ids []uint32
	for range commands {
		ids = append(ids, c.Post(&protocol.Command{Ping: &protocol.PingRequest{}}))
	}
	other := n.Session(t, "news")
	n.Bus.Send("news", `"small"`)
	other.ExpectPush("news", `"small"`)
	other.Leave()
	c.ExpectPush("news", sized(1, size))
	for _, id := range ids {
		if r := c.Reply(id); r.Ping == nil {
			t.Fatalf("got %s, want the reply to a ping", kit.Show(r))
		}
	}
	c.ExpectPush("news", `"small"`)
	c.RoundTrip()
	c.Send(kit.Closing(1000, ""))
	c.ExpectCloseLater(1000)
}

// A client that goes away in the middle of it, or never reads, leaves nothing
// behind.
func testLargeUnread(t *testing.T, build kit.Build) {
	for name, vanish := range vanishing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := kit.Start(t, build, nil)
			c := n.DialNarrow(t)
			c.Handshake(modes.PathCentrifuge)
			c.Connect("news")
			n.Bus.Send("news", sized(1, 8<<20))
			kit.Await(t, "bytes to wait", func() (bool, string) { return n.Stats.Queued.Load() > 0, "none" })
			for range 5 {
				c.Post(&protocol.Command{Ping: &protocol.PingRequest{}})
			}
			vanish(c)
			n.Settle(t)
		})
	}
	t.Run("drain", func(t *testing.T) {
		t.Parallel()
		n := kit.Start(t, build, nil)
		c := n.DialNarrow(t)
		c.Handshake(modes.PathCentrifuge)
		c.Connect("news")
		n.Bus.Send("news", sized(1, 8<<20))
		kit.Await(t, "bytes to wait", func() (bool, string) { return n.Stats.Queued.Load() > 0, "none" })
		for range 5 {
			c.Post(&protocol.Command{Ping: &protocol.PingRequest{}})
		}
		if err := n.Drain(t.Context(), t, 0)(); err != nil {
			t.Errorf("Drain: %v", err)
		}
		n.Settle(t)
	})
}

// allReceivers runs f beside itself for a client of each way to be pushed
// publications, all on one node, which has opened them before f begins.
func allReceivers(n *kit.Node, t *testing.T, which []string, begun func(), f func(c *kit.Client, pace *pacedReader)) {
	t.Helper()
	clients, paces := make([]*kit.Client, len(which)), make([]*pacedReader, len(which))
	for i, name := range which {
		clients[i], paces[i] = dialPaced(n, t)
		receivers[name](clients[i])
	}
	begun()
	kit.Together(t, len(which), func(t kit.Tester, i int) {
		clients[i].T = t
		f(clients[i], paces[i])
	})
}

// While bytes of a large publication still arrive, a client cannot answer a ping
// and need not; it is not closed for that.
func testLargeSlowLine(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Limits.PingInterval, s.Limits.PongTimeout = 6*time.Second, 5*time.Second
	})
	const size = 8 << 20
	allReceivers(n, t, []string{"json", "protobuf", "raw"}, func() { n.Bus.Send("news", sized(1, size)) },
		func(c *kit.Client, pace *pacedReader) {
			pace.slowly(n.Limits.PingInterval + 2*n.Limits.PongTimeout)
			// No ping but behind the publication.
			expectData(c, sized(1, size))
			if c.Protocol.Session() {
				c.RoundTrip()
				return
			}
			c.Send(kit.Frame{Op: ws.OpPing, Body: []byte("round trip")})
			for {
				switch f := c.Frame(); f.Op {
				case ws.OpPing:
					c.Send(kit.Frame{Op: ws.OpPong, Body: f.Body})
				case ws.OpPong:
					return
				default:
					c.T.Fatalf("got frame op %#x %s, want a pong", f.Op, kit.CloseText(f))
				}
			}
		})
}

// A client that shuts down its side takes what waits for it all the same.
func testLargeHalfClosed(t *testing.T, build kit.Build) {
	for _, size := range []int{8 << 20, 200_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.MaxQueuedBytes, s.Compression = 16<<20, true })
			count := 8 << 20 / size
			allReceivers(n, t, slices.Collect(maps.Keys(receivers)), func() {
				for i := range count {
					n.Bus.Send("news", sized(i, size))
				}
				n.Bus.Flush()
			}, func(c *kit.Client, pace *pacedReader) {
				if err := c.Conn.CloseWrite(); err != nil {
					c.T.Fatalf("half-close: %v", err)
				}
				// Longer than a connection may take to close if its client is
				// not receiving.
				pace.slowly(modes.CloseWait + time.Second)
				for i := range count {
					expectData(c, sized(i, size))
				}
				if !c.Protocol.OverHTTP() {
					c.ExpectCleanEnd()
				} else if e, err := c.TryEvent(); !errors.Is(err, io.EOF) {
					c.T.Fatalf("got %.100q, %v, want the end of the stream", e, err)
				}
			})
			n.Settle(t)
		})
	}
}

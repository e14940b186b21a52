package enginetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// listeners opens a connection of each protocol that brings publications,
// subscribed to news.
func listeners(n *kit.Node, t kit.Tester, deflate bool) []*kit.Client {
	t.Helper()
	var clients []*kit.Client
	for _, target := range []struct{ path, header string }{
		{modes.PathCentrifuge, "X-Encoding: JSON"},
		{modes.PathCentrifuge, "Sec-WebSocket-Protocol: " + wire.ProtobufSubprotocol},
		{modes.PathRaw + "?channel=news", "X-Encoding: none"},
	} {
		c := n.Dial(t)
		c.Deflate = deflate
		c.Handshake(target.path, target.header)
		if c.Protocol.Session() {
			c.Connect()
			c.Subscribe("news")
		}
		clients = append(clients, c)
	}
	return clients
}

// expectPayload reads the publication of data, which may be compressed, and
// returns whether it was.
func expectPayload(c *kit.Client, data string) (deflated bool) {
	c.T.Helper()
	m := c.Message()
	if c.Protocol == wire.Raw {
		if string(m.Body) != data {
			c.T.Fatalf("got %s, want %s", kit.Brief(m.Body), kit.Brief([]byte(data)))
		}
		return m.Rsv == kit.Rsv1
	}
	replies, err := kit.Decode(c.Protocol, m)
	if err != nil || len(replies) != 1 || string(replies[0].GetPush().GetPub().GetData()) != data {
		c.T.Fatalf("got %s, %v, want a publication of %s", kit.Brief(m.Body), err, kit.Brief([]byte(data)))
	}
	return m.Rsv == kit.Rsv1
}

// long is a publication that is worth compressing.
func long(i int) string {
	return fmt.Sprintf(`{"number":%d,"text":"%s"}`, i, strings.Repeat("over and ", 40))
}

func testDeflatePublications(t *testing.T, build kit.Build) {
	n := deflateNode(t, build)
	plain, deflated := listeners(n, t, false), listeners(n, t, true)
	awaitSubscriptions(n, t, int64(len(plain)+len(deflated)))
	for _, test := range []struct {
		name, data string
		want       bool
	}{
		{"long", long(1), true},
		{"short", `{"n":1}`, false},
		{"large", `{"list":[` + strings.Repeat(`{"a":1,"b":"two"},`, 20_000) + `0]}`, true},
		{"long again", long(1), true},
	} {
		n.Bus.Send("news", test.data)
		for i, c := range append(plain[:len(plain):len(plain)], deflated...) {
			if got := expectPayload(c, test.data); got != (test.want && c.Deflate) {
				t.Errorf("%s to client %d, protocol %v: compressed %t", test.name, i, c.Protocol, got)
			}
		}
	}
	// What ends a subscription reaches both, and both subscribe again.
	n.Bus.Lost("news")
	for _, c := range []*kit.Client{plain[0], plain[1], deflated[0], deflated[1]} {
		c.ExpectGap("news")
		c.Subscribe("news")
	}
	n.Bus.Send("news", long(2))
	for _, c := range deflated {
		if !expectPayload(c, long(2)) {
			t.Errorf("protocol %v: not compressed after the gap", c.Protocol)
		}
	}
}

// awaitSubscriptions waits until exactly want are counted.
func awaitSubscriptions(n *kit.Node, t kit.Tester, want int64) {
	t.Helper()
	kit.Await(t, fmt.Sprintf("%d subscriptions", want), func() (bool, string) {
		got := n.Stats.Subscriptions.Load()
		return got == want, fmt.Sprint(got)
	})
}

// A publication is compressed once for all clients that negotiated it, and not at all
// if none did.
func testDeflateOnce(t *testing.T, build kit.Build) {
	n := deflateNode(t, build)
	const each = 5
	for range each {
		listeners(n, t, false)
	}
	// One that negotiated compression and is subscribed to something else.
	other := n.OpenDeflate(t, modes.PathCentrifuge)
	other.Connect("other")
	witness := n.Session(t, "news")
	publish := func(i int, compressions uint64) {
		t.Helper()
		before := n.Stats.Deflated.Load()
		n.Bus.Send("news", long(i))
		witness.ExpectPush("news", long(i))
		if got := n.Stats.Deflated.Load() - before; got != compressions {
			t.Errorf("%d compressions, want %d", got, compressions)
		}
	}
	publish(0, 0)
	var clients []*kit.Client
	for range each {
		clients = append(clients, listeners(n, t, true)...)
	}
	in, out, written := n.Stats.DeflateIn.Load(), n.Stats.DeflateOut.Load(), n.Stats.BytesOut.Load()
	publish(1, uint64(len(clients)/each))
	for _, c := range clients {
		if !expectPayload(c, long(1)) {
			t.Errorf("protocol %v: not compressed", c.Protocol)
		}
	}
	in, out = n.Stats.DeflateIn.Load()-in, n.Stats.DeflateOut.Load()-out
	if in < 3*uint64(len(long(1))) || out == 0 || out > in/2 {
		t.Errorf("%d bytes are counted as %d compressed", in, out)
	}
	// What is sent is counted as it is sent: five times what was compressed, and
	// what the others get.
	kit.Await(t, "the bytes sent to be counted", func() (bool, string) {
		got := n.Stats.BytesOut.Load() - written
		push := uint64(len(wire.ReplyFrame(wire.JSON, &protocol.Reply{Push: &protocol.Push{
			Channel: "news", Pub: &protocol.Publication{Data: []byte(long(1))}}})))
		return got == each*(in+out)+push, fmt.Sprintf("%d, want %d", got, each*(in+out)+push)
	})
	for _, c := range clients {
		c.Leave()
	}
	awaitSubscriptions(n, t, 3*each+2)
	publish(2, 0)
}

func testDeflateBursts(t *testing.T, build kit.Build) {
	n := deflateNode(t, build)
	const bursts, size = 10, window
	var clients []*kit.Client
	for range 3 {
		clients = append(clients, listeners(n, t, true)...)
		clients = append(clients, listeners(n, t, false)...)
	}
	awaitSubscriptions(n, t, int64(len(clients)))
	for burst := range bursts {
		for i := range size {
			n.Bus.Send("news", burstMessage(burst*size+i))
		}
		for _, c := range clients {
			for i := range size {
				// Some are compressed and some are not; the order is one.
				if got := expectPayload(c, burstMessage(burst*size+i)); got != (c.Deflate && i%3 == 0) {
					t.Fatalf("protocol %v, number %d: compressed %t", c.Protocol, i, got)
				}
			}
		}
	}
}

// burstMessage is long if its place in its burst is a multiple of three.
func burstMessage(i int) string {
	if i%window%3 == 0 {
		return long(i)
	}
	return fmt.Sprint(i)
}

func testDeflateSession(t *testing.T, build kit.Build) {
	n := deflateNode(t, build)
	for _, header := range []string{"X-Encoding: JSON", "Sec-WebSocket-Protocol: " + wire.ProtobufSubprotocol} {
		t.Run(header, func(t *testing.T) {
			c := n.OpenDeflate(t, modes.PathCentrifuge, header)
			c.DeflateCommands = true
			c.Connect("news")
			for i := range 20 {
				channel := fmt.Sprint("channel ", i)
				c.Subscribe(channel)
				n.Bus.Send(channel, long(i))
				c.ExpectPush(channel, long(i))
				c.Unsubscribe(channel)
			}
			c.RoundTrip()
			// In the segment of the handshake, too.
			early := n.Dial(t)
			early.Deflate, early.DeflateCommands = true, true
			early.Protocol = c.Protocol
			command := early.Encode(&protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{}})
			early.Write(append(kit.Upgrade(modes.PathCentrifuge, header, "Sec-WebSocket-Extensions: permessage-deflate").Bytes(), kit.Encode(command)...))
			subprotocol := ""
			if c.Protocol == wire.Protobuf {
				subprotocol = wire.ProtobufSubprotocol
			}
			early.ExpectUpgrade(subprotocol)
			if r := early.Next(); r.Connect == nil {
				t.Errorf("got %s, want the connect reply", kit.Show(r))
			}
		})
	}
}

// A client that does not read is cut off with whole frames before, compressed
// ones as well.
func testDeflateSlow(t *testing.T, build kit.Build) {
	const bound = 256 << 10
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Compression = true
		s.Limits.MaxQueuedBytes = bound
	})
	healthy := n.OpenDeflate(t, modes.PathCentrifuge)
	healthy.Connect("news")
	frozen := n.DialNarrow(t)
	frozen.Deflate = true
	frozen.Handshake(modes.PathRaw + "?channel=news")
	awaitSubscriptions(n, t, 2)
	// Half of it does not compress.
	body := fmt.Sprintf("%x%s", noise(30_000), strings.Repeat("and on ", 5000))
	message := func(i int) string { return fmt.Sprintf(`{"number":%d,"text":"%s"}`, i, body) }
	sent := 0
	for kit.Count(t, n.Stats.Disconnected, wire.DisconnectSlow.Reason) == 0 {
		if sent > 2000 {
			t.Fatalf("%d messages and the frozen client is not cut off", sent)
		}
		n.Bus.Send("news", message(sent))
		healthy.ExpectPush("news", message(sent))
		sent++
		// The healthy one's may still be counted.
		if queued := n.Stats.Queued.Load(); queued > 2*bound {
			t.Fatalf("%d bytes are queued, the bound is %d", queued, bound)
		}
	}
	for i := 0; ; i++ {
		f, err := frozen.TryFrame()
		if kit.Ended(err) {
			// It took longer to read them than it is given.
			break
		}
		if err != nil {
			t.Fatalf("frame %d of %d: %v", i, sent, err)
		}
		if f.Op == ws.OpClose {
			frozen.Finish(int(wire.DisconnectSlow.Code), f)
			break
		}
		if f.Rsv != kit.Rsv1 || string(f.Body) != message(i) {
			t.Fatalf("frame %d of %d has reserved bits %#x and %s", i, sent, f.Rsv, kit.Brief(f.Body))
		}
	}
	healthy.RoundTrip()
}

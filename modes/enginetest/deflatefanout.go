package enginetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// listeners opens a connection of each protocol that brings publications,
// subscribed to news.
func (n *node) listeners(t tester, deflate bool) []*client {
	t.Helper()
	var clients []*client
	for _, target := range []struct{ path, header string }{
		{modes.PathCentrifuge, "X-Encoding: JSON"},
		{modes.PathCentrifuge, "Sec-WebSocket-Protocol: " + wire.ProtobufSubprotocol},
		{modes.PathRaw + "?channel=news", "X-Encoding: none"},
	} {
		c := n.dial(t)
		c.deflate = deflate
		c.handshake(target.path, target.header)
		if c.protocol.Session() {
			c.connect()
			c.subscribe("news")
		}
		clients = append(clients, c)
	}
	return clients
}

// expectPayload reads the publication of data, which may be compressed, and
// returns whether it was.
func (c *client) expectPayload(data string) (deflated bool) {
	c.t.Helper()
	m := c.message()
	if c.protocol == wire.Raw {
		if string(m.body) != data {
			c.t.Fatalf("got %s, want %s", brief(m.body), brief([]byte(data)))
		}
		return m.rsv == rsv1
	}
	replies, err := decode(c.protocol, m)
	if err != nil || len(replies) != 1 || string(replies[0].GetPush().GetPub().GetData()) != data {
		c.t.Fatalf("got %s, %v, want a publication of %s", brief(m.body), err, brief([]byte(data)))
	}
	return m.rsv == rsv1
}

// long is a publication that is worth compressing.
func long(i int) string {
	return fmt.Sprintf(`{"number":%d,"text":"%s"}`, i, strings.Repeat("over and ", 40))
}

func testDeflatePublications(t *testing.T, build Build) {
	n := deflateNode(t, build)
	plain, deflated := n.listeners(t, false), n.listeners(t, true)
	n.awaitSubscriptions(t, int64(len(plain)+len(deflated)))
	for _, test := range []struct {
		name, data string
		want       bool
	}{
		{"long", long(1), true},
		{"short", `{"n":1}`, false},
		{"large", `{"list":[` + strings.Repeat(`{"a":1,"b":"two"},`, 20_000) + `0]}`, true},
		{"long again", long(1), true},
	} {
		n.bus.publish("news", test.data)
		for i, c := range append(plain[:len(plain):len(plain)], deflated...) {
			if got := c.expectPayload(test.data); got != (test.want && c.deflate) {
				t.Errorf("%s to client %d, protocol %v: compressed %t", test.name, i, c.protocol, got)
			}
		}
	}
	// What ends a subscription reaches both, and both subscribe again.
	n.bus.lost("news")
	for _, c := range []*client{plain[0], plain[1], deflated[0], deflated[1]} {
		c.expectGap("news")
		c.subscribe("news")
	}
	n.bus.publish("news", long(2))
	for _, c := range deflated {
		if !c.expectPayload(long(2)) {
			t.Errorf("protocol %v: not compressed after the gap", c.protocol)
		}
	}
}

// awaitSubscriptions waits until exactly want are counted.
func (n *node) awaitSubscriptions(t tester, want int64) {
	t.Helper()
	await(t, fmt.Sprintf("%d subscriptions", want), func() (bool, string) {
		got := n.stats.Subscriptions.Load()
		return got == want, fmt.Sprint(got)
	})
}

// A publication is compressed once for all clients that negotiated it, and not at all
// if none did.
func testDeflateOnce(t *testing.T, build Build) {
	n := deflateNode(t, build)
	const each = 5
	for range each {
		n.listeners(t, false)
	}
	// One that negotiated compression and is subscribed to something else.
	other := n.openDeflate(t, modes.PathCentrifuge)
	other.connect("other")
	witness := n.session(t, "news")
	publish := func(i int, compressions uint64) {
		t.Helper()
		before := n.stats.Deflated.Load()
		n.bus.publish("news", long(i))
		witness.expectPush("news", long(i))
		if got := n.stats.Deflated.Load() - before; got != compressions {
			t.Errorf("%d compressions, want %d", got, compressions)
		}
	}
	publish(0, 0)
	var clients []*client
	for range each {
		clients = append(clients, n.listeners(t, true)...)
	}
	in, out, written := n.stats.DeflateIn.Load(), n.stats.DeflateOut.Load(), n.stats.BytesOut.Load()
	publish(1, uint64(len(clients)/each))
	for _, c := range clients {
		if !c.expectPayload(long(1)) {
			t.Errorf("protocol %v: not compressed", c.protocol)
		}
	}
	in, out = n.stats.DeflateIn.Load()-in, n.stats.DeflateOut.Load()-out
	if in < 3*uint64(len(long(1))) || out == 0 || out > in/2 {
		t.Errorf("%d bytes are counted as %d compressed", in, out)
	}
	// What is sent is counted as it is sent: five times what was compressed, and
	// what the others get.
	await(t, "the bytes sent to be counted", func() (bool, string) {
		got := n.stats.BytesOut.Load() - written
		push := uint64(len(wire.ReplyFrame(wire.JSON, &protocol.Reply{Push: &protocol.Push{
			Channel: "news", Pub: &protocol.Publication{Data: []byte(long(1))}}})))
		return got == each*(in+out)+push, fmt.Sprintf("%d, want %d", got, each*(in+out)+push)
	})
	for _, c := range clients {
		c.leave()
	}
	n.awaitSubscriptions(t, 3*each+2)
	publish(2, 0)
}

func testDeflateBursts(t *testing.T, build Build) {
	n := deflateNode(t, build)
	const bursts, size = 10, window
	var clients []*client
	for range 3 {
		clients = append(clients, n.listeners(t, true)...)
		clients = append(clients, n.listeners(t, false)...)
	}
	n.awaitSubscriptions(t, int64(len(clients)))
	for burst := range bursts {
		for i := range size {
			n.bus.publish("news", burstMessage(burst*size+i))
		}
		for _, c := range clients {
			for i := range size {
				// Some are compressed and some are not; the order is one.
				if got := c.expectPayload(burstMessage(burst*size + i)); got != (c.deflate && i%3 == 0) {
					t.Fatalf("protocol %v, number %d: compressed %t", c.protocol, i, got)
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

func testDeflateSession(t *testing.T, build Build) {
	n := deflateNode(t, build)
	for _, header := range []string{"X-Encoding: JSON", "Sec-WebSocket-Protocol: " + wire.ProtobufSubprotocol} {
		t.Run(header, func(t *testing.T) {
			c := n.openDeflate(t, modes.PathCentrifuge, header)
			c.deflateCommands = true
			c.connect("news")
			for i := range 20 {
				channel := fmt.Sprint("channel ", i)
				c.subscribe(channel)
				n.bus.publish(channel, long(i))
				c.expectPush(channel, long(i))
				c.unsubscribe(channel)
			}
			c.roundTrip()
			// In the segment of the handshake, too.
			early := n.dial(t)
			early.deflate, early.deflateCommands = true, true
			early.protocol = c.protocol
			command := early.encode(&protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{}})
			early.write(append(upgrade(modes.PathCentrifuge, header, "Sec-WebSocket-Extensions: permessage-deflate").bytes(), encode(command)...))
			subprotocol := ""
			if c.protocol == wire.Protobuf {
				subprotocol = wire.ProtobufSubprotocol
			}
			early.expectUpgrade(subprotocol)
			if r := early.next(); r.Connect == nil {
				t.Errorf("got %s, want the connect reply", show(r))
			}
		})
	}
}

// A client that does not read is cut off with whole frames before, compressed
// ones as well.
func testDeflateSlow(t *testing.T, build Build) {
	const bound = 256 << 10
	n := start(t, build, func(s *setup) {
		s.compression = true
		s.limits.MaxQueuedBytes = bound
	})
	healthy := n.openDeflate(t, modes.PathCentrifuge)
	healthy.connect("news")
	frozen := n.dialNarrow(t)
	frozen.deflate = true
	frozen.handshake(modes.PathRaw + "?channel=news")
	n.awaitSubscriptions(t, 2)
	// Half of it does not compress.
	body := fmt.Sprintf("%x%s", noise(30_000), strings.Repeat("and on ", 5000))
	message := func(i int) string { return fmt.Sprintf(`{"number":%d,"text":"%s"}`, i, body) }
	sent := 0
	for count(t, n.stats.Disconnected, wire.DisconnectSlow.Reason) == 0 {
		if sent > 2000 {
			t.Fatalf("%d messages and the frozen client is not cut off", sent)
		}
		n.bus.publish("news", message(sent))
		healthy.expectPush("news", message(sent))
		sent++
		// The healthy one's may still be counted.
		if queued := n.stats.Queued.Load(); queued > 2*bound {
			t.Fatalf("%d bytes are queued, the bound is %d", queued, bound)
		}
	}
	for i := 0; ; i++ {
		f, err := frozen.tryFrame()
		if ended(err) {
			// It took longer to read them than it is given.
			break
		}
		if err != nil {
			t.Fatalf("frame %d of %d: %v", i, sent, err)
		}
		if f.op == ws.OpClose {
			frozen.finish(int(wire.DisconnectSlow.Code), f)
			break
		}
		if f.rsv != rsv1 || string(f.body) != message(i) {
			t.Fatalf("frame %d of %d has reserved bits %#x and %s", i, sent, f.rsv, brief(f.body))
		}
	}
	healthy.roundTrip()
}

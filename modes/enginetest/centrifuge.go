package enginetest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// session opens a connection that speaks the Centrifuge protocol in JSON and is
// connected, with subscriptions to channels.
func (n *node) session(t tester, channels ...string) *client {
	t.Helper()
	c := n.open(t, modes.PathCentrifuge)
	c.connect(channels...)
	return c
}

// subscribed opens a connection that is connected and has then subscribed to
// channels by itself.
func (n *node) subscribed(t tester, channels ...string) *client {
	t.Helper()
	c := n.session(t)
	for _, channel := range channels {
		c.subscribe(channel)
	}
	return c
}

// connect sends the connect command and takes its reply.
func (c *client) connect(channels ...string) *protocol.ConnectResult {
	c.t.Helper()
	request := &protocol.ConnectRequest{}
	if len(channels) > 0 {
		request.Subs = map[string]*protocol.SubscribeRequest{}
		for _, channel := range channels {
			request.Subs[channel] = &protocol.SubscribeRequest{}
		}
	}
	r := c.call(&protocol.Command{Connect: request})
	if r.Connect == nil || r.Connect.Client == "" || len(r.Connect.Subs) != len(channels) {
		c.t.Fatalf("connect: got %s", show(r))
	}
	for _, channel := range channels {
		c.expectNone(channel)
	}
	return r.Connect
}

// expectNone fails if a push to channel has come.
func (c *client) expectNone(channel string) {
	c.t.Helper()
	for _, r := range c.came {
		if r.GetPush().GetChannel() == channel {
			c.t.Fatalf("got %s before the reply", show(r))
		}
	}
}

// subscribe subscribes and takes the reply, before which no push may come.
func (c *client) subscribe(channel string) {
	c.t.Helper()
	if r := c.call(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: channel}}); r.Subscribe == nil {
		c.t.Fatalf("subscribe %q: got %s", channel, show(r))
	}
	c.expectNone(channel)
}

// unsubscribe unsubscribes and takes the reply.
func (c *client) unsubscribe(channel string) {
	c.t.Helper()
	if r := c.call(&protocol.Command{Unsubscribe: &protocol.UnsubscribeRequest{Channel: channel}}); r.Unsubscribe == nil {
		c.t.Fatalf("unsubscribe %q: got %s", channel, show(r))
	}
}

// roundTrip shows that the connection is served.
func (c *client) roundTrip() {
	c.t.Helper()
	if r := c.call(&protocol.Command{Ping: &protocol.PingRequest{}}); r.Ping == nil {
		c.t.Fatalf("ping: got %s", show(r))
	}
}

// post sends a command under a new id, which it returns.
func (c *client) post(command *protocol.Command) uint32 {
	c.t.Helper()
	c.lastID++
	command.Id = c.lastID
	c.send(c.encode(command))
	return command.Id
}

// call sends a command and takes its reply. What comes before it waits for next.
func (c *client) call(command *protocol.Command) *protocol.Reply {
	c.t.Helper()
	return c.reply(c.post(command))
}

// reply takes the reply with this id. What comes before it waits for next.
func (c *client) reply(id uint32) *protocol.Reply {
	c.t.Helper()
	for i := 0; ; i++ {
		for i >= len(c.came) {
			c.read()
		}
		if r := c.came[i]; r.Id == id {
			c.came = append(c.came[:i:i], c.came[i+1:]...)
			return r
		}
	}
}

// next takes the next reply or push. It answers pings on the way.
func (c *client) next() *protocol.Reply {
	c.t.Helper()
	for len(c.came) == 0 {
		c.read()
	}
	r := c.came[0]
	c.came = c.came[1:]
	return r
}

// expectPush takes the next reply or push, which must be this publication.
func (c *client) expectPush(channel, data string) {
	c.t.Helper()
	r := c.next()
	if r.Push == nil || r.Push.Pub == nil || r.Push.Channel != channel || string(r.Push.Pub.Data) != data {
		c.t.Fatalf("got %s, want publication %s to %q", show(r), data, channel)
	}
}

// expectError takes the reply with this id, which must be this error.
func (c *client) expectError(id, code uint32) {
	c.t.Helper()
	if r := c.reply(id); r.Error == nil || r.Error.Code != code || r.Error.Message == "" {
		c.t.Fatalf("got %s, want error %d", show(r), code)
	}
}

// fence returns once all publications that were published before have reached
// the client, if they are to. The client must be subscribed to channel, which
// is the fence's own. A second round makes sure that what was handed over with
// the first is out.
func (n *node) fence(c *client, channel string) {
	c.t.Helper()
	n.bus.flush()
	for _, data := range []string{`"fence"`, `"fence again"`} {
		n.bus.publish(channel, data)
		c.expectPush(channel, data)
	}
}

// read reads one message and takes it apart.
func (c *client) read() {
	c.t.Helper()
	m := c.message()
	replies, err := decode(c.protocol, m)
	if err != nil {
		c.t.Fatalf("message %s: %v", brief(m.body), err)
	}
	for _, r := range replies {
		if r != nil {
			c.came = append(c.came, r)
			continue
		}
		c.pings++
		if !c.mute {
			c.send(c.encode(&protocol.Command{}))
		}
	}
}

// encode returns the message that carries command, as an SDK sends it.
func (c *client) encode(command *protocol.Command) frame {
	c.t.Helper()
	f := c.encodePlain(command)
	if c.deflateCommands {
		f = compressed(f.op, f.body)
	}
	return f
}

func (c *client) encodePlain(command *protocol.Command) frame {
	c.t.Helper()
	if c.protocol == wire.Protobuf {
		body, err := proto.Marshal(command)
		if err != nil {
			c.t.Fatalf("encode: %v", err)
		}
		return frame{op: ws.OpBinary, body: append(binary.AppendUvarint(nil, uint64(len(body))), body...)}
	}
	body, err := json.Marshal(command)
	if err != nil {
		c.t.Fatalf("encode: %v", err)
	}
	return frame{op: ws.OpText, body: body}
}

// decode takes a message of the server apart; a ping becomes nil. The decoders
// are other ones than those that come with the server's encoders.
func decode(p wire.Protocol, m frame) ([]*protocol.Reply, error) {
	if p == wire.Protobuf {
		if m.op != ws.OpBinary {
			return nil, fmt.Errorf("opcode %#x, want binary", m.op)
		}
		var replies []*protocol.Reply
		for rest := m.body; len(rest) > 0; {
			length, n := binary.Uvarint(rest)
			if n <= 0 || length > uint64(len(rest)-n) {
				return nil, fmt.Errorf("bad length in %x", m.body)
			}
			var r *protocol.Reply
			if length > 0 {
				r = &protocol.Reply{}
				if err := proto.Unmarshal(rest[n:n+int(length)], r); err != nil {
					return nil, err
				}
			}
			replies = append(replies, r)
			rest = rest[n+int(length):]
		}
		return replies, nil
	}
	if m.op != ws.OpText {
		return nil, fmt.Errorf("opcode %#x, want text", m.op)
	}
	var replies []*protocol.Reply
	for line := range bytes.SplitSeq(m.body, []byte{'\n'}) {
		var r *protocol.Reply
		if string(line) != "{}" {
			r = &protocol.Reply{}
			if err := json.Unmarshal(line, r); err != nil {
				return nil, err
			}
		}
		replies = append(replies, r)
	}
	return replies, nil
}

// show is a reply in an error message.
func show(r *protocol.Reply) string {
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

package kit

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

// Session opens a connection that speaks the Centrifuge protocol in JSON and is
// connected, with subscriptions to channels.
func (n *Node) Session(t Tester, channels ...string) *Client {
	t.Helper()
	c := n.Open(t, modes.PathCentrifuge)
	c.Connect(channels...)
	return c
}

// Subscribed opens a connection that is connected and has then subscribed to
// channels by itself.
func (n *Node) Subscribed(t Tester, channels ...string) *Client {
	t.Helper()
	c := n.Session(t)
	for _, channel := range channels {
		c.Subscribe(channel)
	}
	return c
}

// Connect sends the connect command and takes its reply.
func (c *Client) Connect(channels ...string) *protocol.ConnectResult {
	c.T.Helper()
	request := &protocol.ConnectRequest{}
	if len(channels) > 0 {
		request.Subs = map[string]*protocol.SubscribeRequest{}
		for _, channel := range channels {
			request.Subs[channel] = &protocol.SubscribeRequest{}
		}
	}
	r := c.Call(&protocol.Command{Connect: request})
	if r.Connect == nil || r.Connect.Client == "" || len(r.Connect.Subs) != len(channels) {
		c.T.Fatalf("connect: got %s", Show(r))
	}
	for _, channel := range channels {
		c.expectNone(channel)
	}
	return r.Connect
}

// expectNone fails if a push to channel has come.
func (c *Client) expectNone(channel string) {
	c.T.Helper()
	for _, r := range c.came {
		if r.GetPush().GetChannel() == channel {
			c.T.Fatalf("got %s before the reply", Show(r))
		}
	}
}

// Subscribe subscribes and takes the reply, before which no push may come.
func (c *Client) Subscribe(channel string) {
	c.T.Helper()
	if r := c.Call(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: channel}}); r.Subscribe == nil {
		c.T.Fatalf("subscribe %q: got %s", channel, Show(r))
	}
	c.expectNone(channel)
}

// Unsubscribe unsubscribes and takes the reply.
func (c *Client) Unsubscribe(channel string) {
	c.T.Helper()
	if r := c.Call(&protocol.Command{Unsubscribe: &protocol.UnsubscribeRequest{Channel: channel}}); r.Unsubscribe == nil {
		c.T.Fatalf("unsubscribe %q: got %s", channel, Show(r))
	}
}

// RoundTrip shows that the connection is served.
func (c *Client) RoundTrip() {
	c.T.Helper()
	if r := c.Call(&protocol.Command{Ping: &protocol.PingRequest{}}); r.Ping == nil {
		c.T.Fatalf("ping: got %s", Show(r))
	}
}

// Post sends a command under a new id, which it returns.
func (c *Client) Post(command *protocol.Command) uint32 {
	c.T.Helper()
	c.LastID++
	command.Id = c.LastID
	c.Send(c.Encode(command))
	return command.Id
}

// Call sends a command and takes its reply. What comes before it waits for next.
func (c *Client) Call(command *protocol.Command) *protocol.Reply {
	c.T.Helper()
	return c.Reply(c.Post(command))
}

// Reply takes the reply with this id. What comes before it waits for next.
func (c *Client) Reply(id uint32) *protocol.Reply {
	c.T.Helper()
	for i := 0; ; i++ {
		for i >= len(c.came) {
			c.Read()
		}
		if r := c.came[i]; r.Id == id {
			c.came = append(c.came[:i:i], c.came[i+1:]...)
			return r
		}
	}
}

// Next takes the next reply or push. It answers pings on the way.
func (c *Client) Next() *protocol.Reply {
	c.T.Helper()
	for len(c.came) == 0 {
		c.Read()
	}
	r := c.came[0]
	c.came = c.came[1:]
	return r
}

// ExpectPush takes the next reply or push, which must be this publication.
func (c *Client) ExpectPush(channel, data string) {
	c.T.Helper()
	r := c.Next()
	if r.Push == nil || r.Push.Pub == nil || r.Push.Channel != channel || string(r.Push.Pub.Data) != data {
		c.T.Fatalf("got %s, want publication %s to %q", Show(r), data, channel)
	}
}

// ExpectError takes the reply with this id, which must be this error.
func (c *Client) ExpectError(id, code uint32) {
	c.T.Helper()
	if r := c.Reply(id); r.Error == nil || r.Error.Code != code || r.Error.Message == "" {
		c.T.Fatalf("got %s, want error %d", Show(r), code)
	}
}

// Fence returns once all publications that were published before have reached
// the client, if they are to. The client must be subscribed to channel, which
// is the fence's own. A second round makes sure that what was handed over with
// the first is out.
func (n *Node) Fence(c *Client, channel string) {
	c.T.Helper()
	n.Bus.Flush()
	for _, data := range []string{`"fence"`, `"fence again"`} {
		n.Bus.Send(channel, data)
		c.ExpectPush(channel, data)
	}
}

// Read reads one message and takes it apart.
func (c *Client) Read() {
	c.T.Helper()
	m := c.Message()
	replies, err := Decode(c.Protocol, m)
	if err != nil {
		c.T.Fatalf("message %s: %v", Brief(m.Body), err)
	}
	for _, r := range replies {
		if r != nil {
			c.came = append(c.came, r)
			continue
		}
		c.Pings++
		if !c.Mute {
			c.Send(c.Encode(&protocol.Command{}))
		}
	}
}

// Encode returns the message that carries command, as an SDK sends it.
func (c *Client) Encode(command *protocol.Command) Frame {
	c.T.Helper()
	f := c.EncodePlain(command)
	if c.DeflateCommands {
		f = Compressed(f.Op, f.Body)
	}
	return f
}

// EncodePlain is Encode without compression.
func (c *Client) EncodePlain(command *protocol.Command) Frame {
	c.T.Helper()
	if c.Protocol == wire.Protobuf {
		body, err := proto.Marshal(command)
		if err != nil {
			c.T.Fatalf("encode: %v", err)
		}
		return Frame{Op: ws.OpBinary, Body: append(binary.AppendUvarint(nil, uint64(len(body))), body...)}
	}
	body, err := json.Marshal(command)
	if err != nil {
		c.T.Fatalf("encode: %v", err)
	}
	return Frame{Op: ws.OpText, Body: body}
}

// Decode takes a message of the server apart; a ping becomes nil. The decoders
// are other ones than those that come with the server's encoders.
func Decode(p wire.Protocol, m Frame) ([]*protocol.Reply, error) {
	if p == wire.Protobuf {
		if m.Op != ws.OpBinary {
			return nil, fmt.Errorf("opcode %#x, want binary", m.Op)
		}
		var replies []*protocol.Reply
		for rest := m.Body; len(rest) > 0; {
			length, n := binary.Uvarint(rest)
			if n <= 0 || length > uint64(len(rest)-n) {
				return nil, fmt.Errorf("bad length in %x", m.Body)
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
	if m.Op != ws.OpText {
		return nil, fmt.Errorf("opcode %#x, want text", m.Op)
	}
	var replies []*protocol.Reply
	for line := range bytes.SplitSeq(m.Body, []byte{'\n'}) {
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

// Show is a reply in an error message.
func Show(r *protocol.Reply) string {
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// ExpectGap takes publications to channel up to the notice that messages may
// have been missed.
func (c *Client) ExpectGap(channel string) {
	c.T.Helper()
	for {
		r := c.Next()
		if r.GetPush().GetChannel() != channel {
			c.T.Fatalf("got %s, want a push to %q", Show(r), channel)
		}
		u := r.Push.Unsubscribe
		if u == nil {
			continue
		}
		if want := wire.UnsubscribeInsufficient; u.Code != want.Code || u.Reason != want.Reason {
			c.T.Fatalf("got %s, want %v", Show(r), want)
		}
		return
	}
}

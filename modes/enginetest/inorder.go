package enginetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// The cases here send random commands for few channels without waiting for anything,
// while Redis takes its time and publications flow, and compare what comes with a
// model that carries out one command after the other.

// orderRounds is how many clients come one after the other, and orderCommands how
// many commands each sends.
const orderRounds, orderCommands = 8, 120

func testInOrder(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Rules.MaxChannels, s.Rules.ClientPublish = 3, true })
	runInOrder(t, n, inOrder{channels: []string{"a", "b", "c", "d"}, most: 3, subs: true})
}

func testInOrderRefused(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Rules.ClientPublish = true })
	runInOrder(t, n, inOrder{channels: []string{"a", "b", "c"}, most: 4, refused: 4})
}

func testInOrderPrivate(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, func(c *kit.Setup) {
		tokens(c)
		c.Rules.MaxChannels, c.Rules.ClientPublish = 3, true
	})
	runInOrder(t, n, inOrder{channels: []string{"a", "$b", "$c", "$d"}, most: 3, signer: &s})
}

// inOrder is what the commands are about.
type inOrder struct {
	channels []string
	most     int         // channels that a client may have, that of its fence included
	subs     bool        // it subscribes to some with its connect command
	refused  int         // one in so many subscriptions is; 0: none
	signer   *kit.Signer // channels that begin with $ need its tokens
}

func runInOrder(t *testing.T, n *kit.Node, o inOrder) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	n.Bus.Varies(rand.New(rand.NewPCG(seed, 0)), o.refused, o.channels...)
	for _, channel := range o.channels {
		defer n.PublishAlways(t, channel).Stop()
	}
	kit.Together(t, 8, func(t kit.Tester, i int) {
		random := rand.New(rand.NewPCG(seed, uint64(i+1)))
		for range orderRounds {
			var headers []string
			if i%2 == 1 {
				headers = []string{"Sec-WebSocket-Protocol: " + wire.ProtobufSubprotocol}
			}
			m := &orderModel{inOrder: o, client: n.Open(t, modes.PathCentrifuge, headers...), random: random,
				wants: map[string]bool{}, has: map[string]bool{}, due: map[string][]due{}}
			m.fence = fmt.Sprintf("fence of %d", i)
			m.run(n)
			m.client.Leave()
		}
	})
}

// due is a reply that is to come.
type due struct {
	id      uint32
	command *protocol.Command
	full    bool // the client has as many channels as it may have
	// published says that it is a publish whose turn has come, and denied that it
	// was when the client was not subscribed to a channel that it has to be.
	published, denied bool
}

// orderModel is one client and what it should see.
type orderModel struct {
	inOrder
	client *kit.Client
	random *rand.Rand
	fence  string
	// wants are the channels that it will have once all commands have been carried
	// out, has those that it has as far as replies have come.
	wants, has map[string]bool
	due        map[string][]due // by channel, in order
	waiting    int              // replies that are due
}

// run sends the commands and checks what comes for them.
func (m *orderModel) run(n *kit.Node) {
	c := m.client
	connect := m.connect()
	var commands []*protocol.Command
	for range orderCommands {
		commands = append(commands, m.command())
	}
	behind := m.random.IntN(2) * m.random.IntN(len(commands))
	c.Send(m.pack(append([]*protocol.Command{connect}, commands[:behind]...)))
	for rest := commands[behind:]; len(rest) > 0; {
		some := 1 + m.random.IntN(min(len(rest), 10))
		c.Send(m.pack(rest[:some]))
		rest = rest[some:]
	}
	if r := c.Next(); r.Id != connect.Id || r.Connect == nil {
		c.T.Fatalf("got %s, want the connect reply", kit.Show(r))
	}
	for _, channel := range m.channels {
		m.publish(channel)
	}
	for m.waiting > 0 {
		m.see(c.Next())
	}
	for _, channel := range m.channels {
		if m.has[channel] != m.wants[channel] && m.refused == 0 {
			c.T.Fatalf("subscribed to %q: %v, want %v", channel, m.has[channel], m.wants[channel])
		}
	}
	// It has what it was told that it has.
	n.Bus.Flush()
	for _, channel := range m.channels {
		n.Bus.Send(channel, `"last"`)
	}
	n.Bus.Flush()
	n.Bus.Send(m.fence, `"fence"`)
	last := map[string]bool{}
	for {
		r := c.Next()
		if r.GetPush().GetChannel() == m.fence {
			break
		}
		m.see(r)
		if string(r.GetPush().GetPub().GetData()) == `"last"` {
			last[r.Push.Channel] = true
		}
	}
	for _, channel := range m.channels {
		if last[channel] != m.has[channel] {
			c.T.Fatalf("%q: the client was told that it is subscribed: %v; it receives: %v", channel, m.has[channel], last[channel])
		}
	}
}

// connect returns the connect command, which subscribes to the fence's channel and
// perhaps to others.
func (m *orderModel) connect() *protocol.Command {
	request := &protocol.ConnectRequest{Subs: map[string]*protocol.SubscribeRequest{m.fence: {}}}
	m.wants[m.fence], m.has[m.fence] = true, true
	for m.subs && len(m.wants) < m.most && m.random.IntN(2) == 0 {
		channel := m.channels[m.random.IntN(len(m.channels))]
		request.Subs[channel] = &protocol.SubscribeRequest{}
		m.wants[channel], m.has[channel] = true, true
	}
	if m.signer != nil {
		request.Token = m.sign("sub", "42")
	}
	m.client.LastID++
	return &protocol.Command{Id: m.client.LastID, Connect: request}
}

func (m *orderModel) sign(more ...any) string {
	s := *m.signer
	s.T = m.client.T
	return s.Sign(more...)
}

// command returns a random command and notes what it changes.
func (m *orderModel) command() *protocol.Command {
	channel := m.channels[m.random.IntN(len(m.channels))]
	d := due{command: &protocol.Command{}}
	switch kind := m.random.IntN(10); {
	case kind < 4:
		d.command.Subscribe = &protocol.SubscribeRequest{Channel: channel}
		if m.private(channel) {
			d.command.Subscribe.Token = m.sign("channel", channel)
		}
		if !m.wants[channel] {
			d.full = len(m.wants) >= m.most
		}
		if !d.full {
			m.wants[channel] = true
		}
	case kind < 8:
		d.command.Unsubscribe = &protocol.UnsubscribeRequest{Channel: channel}
		delete(m.wants, channel)
	case kind == 8 && m.private(channel):
		d.command.SubRefresh = &protocol.SubRefreshRequest{Channel: channel, Token: m.sign("channel", channel, "exp", kit.InSeconds(1000))}
	case kind == 8:
		d.command.History = &protocol.HistoryRequest{Channel: channel}
	default:
		d.command.Publish = &protocol.PublishRequest{Channel: channel, Data: []byte(`"from a client"`)}
	}
	m.client.LastID++
	d.id = m.client.LastID
	d.command.Id = d.id
	m.due[channel] = append(m.due[channel], d)
	m.waiting++
	return d.command
}

func (m *orderModel) private(channel string) bool { return m.signer != nil && channel[0] == '$' }

// pack returns one message with all commands.
func (m *orderModel) pack(commands []*protocol.Command) kit.Frame {
	var bodies [][]byte
	var f kit.Frame
	for _, command := range commands {
		f = m.client.EncodePlain(command)
		bodies = append(bodies, f.Body)
	}
	separator := []byte("\n")
	if m.client.Protocol == wire.Protobuf {
		separator = nil
	}
	f.Body = bytes.Join(bodies, separator)
	return f
}

// see checks a reply or push.
func (m *orderModel) see(r *protocol.Reply) {
	t := m.client.T
	if push := r.GetPush(); push != nil {
		if push.Pub == nil || !m.has[push.Channel] {
			t.Fatalf("got %s while the client is not subscribed", kit.Show(r))
		}
		return
	}
	for channel, dues := range m.due {
		at := slices.IndexFunc(dues, func(d due) bool { return d.id == r.Id })
		if at < 0 {
			continue
		}
		d := dues[at]
		// A publish is carried out in its turn and answered when Redis has it.
		if first := slices.IndexFunc(dues, func(d due) bool { return d.command.Publish == nil }); first >= 0 && first < at {
			t.Fatalf("got %s before the reply to command %d for the same channel", kit.Show(r), dues[first].id)
		}
		m.due[channel] = slices.Delete(dues, at, at+1)
		m.waiting--
		m.answered(channel, d, r)
		m.publish(channel)
		return
	}
	t.Fatalf("got %s, which answers nothing that is unanswered", kit.Show(r))
}

// publish notes what comes of the publishes whose turn it is.
func (m *orderModel) publish(channel string) {
	for i := range m.due[channel] {
		d := &m.due[channel][i]
		if d.command.Publish == nil {
			break
		}
		if !d.published {
			d.published, d.denied = true, m.private(channel) && !m.has[channel]
		}
	}
}

// answered checks a reply and notes what it changes.
func (m *orderModel) answered(channel string, d due, r *protocol.Reply) {
	want, done := uint32(0), false
	switch command := d.command; {
	case command.Subscribe != nil && d.full:
		want = 106
	case command.Subscribe != nil && m.has[channel]:
		want = 105
	case command.Subscribe != nil:
		if m.refused > 0 && r.GetError().GetCode() == 100 {
			return
		}
		m.has[channel], done = true, r.Subscribe != nil
	case command.Unsubscribe != nil:
		delete(m.has, channel)
		done = r.Unsubscribe != nil
	case command.History != nil:
		want = 108
	case command.SubRefresh != nil && !m.has[channel]:
		want = 103
	case command.SubRefresh != nil:
		done = r.SubRefresh != nil
	case d.denied:
		want = 103
	default:
		done = r.Publish != nil
	}
	if r.GetError().GetCode() != want || want == 0 && !done {
		m.client.T.Fatalf("command %v: got %s, want code %d", d.command, kit.Show(r), want)
	}
}

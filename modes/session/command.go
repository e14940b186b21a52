package session

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/wire"
)

func (s *Session) connect(r *Rules, peer Peer, c *protocol.Command) (wire.Disconnect, bool) {
	if s.phase != opened {
		return wire.DisconnectBadRequest, false
	}
	channels := make([]string, 0, len(c.Connect.Subs))
	for channel := range c.Connect.Subs {
		if !r.ValidChannel(channel) {
			refuse(peer, c, wire.ErrorBadRequest)
			return wire.Disconnect{}, true
		}
		channels = append(channels, strings.Clone(channel))
	}
	if len(channels) > r.MaxChannels {
		refuse(peer, c, wire.ErrorLimitExceeded)
		return wire.Disconnect{}, true
	}
	result := &protocol.ConnectResult{
		Client: peer.ClientID(), Version: r.Version, Ping: r.pingSeconds(), Pong: r.PingInterval > 0,
	}
	id := c.Id
	if len(channels) == 0 {
		s.phase = connected
		send(peer, id, func(reply *protocol.Reply) { reply.Connect = result })
		return wire.Disconnect{}, true
	}
	s.phase = connecting
	result.Subs = make(map[string]*protocol.SubscribeResult, len(channels))
	peer.Subscribe(true, func(err error) {
		if err != nil {
			s.phase = opened
			peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorInternal})
			return
		}
		s.phase = connected
		for _, channel := range channels {
			result.Subs[channel] = subscribedByServer
		}
		peer.Send(&protocol.Reply{Id: id, Connect: result})
	}, channels...)
	return wire.Disconnect{}, true
}

func (s *Session) subscribe(r *Rules, peer Peer, c *protocol.Command) {
	channel := c.Subscribe.Channel
	if !r.ValidChannel(channel) {
		refuse(peer, c, wire.ErrorBadRequest)
		return
	}
	switch n, has := peer.Subscriptions(channel); {
	case has:
		refuse(peer, c, wire.ErrorAlreadySubscribe)
		return
	case n >= r.MaxChannels:
		refuse(peer, c, wire.ErrorLimitExceeded)
		return
	}
	id := c.Id
	peer.Subscribe(false, func(err error) {
		if err != nil {
			peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorInternal})
			return
		}
		send(peer, id, func(reply *protocol.Reply) { reply.Subscribe = subscribed })
	}, channel)
}

func (s *Session) unsubscribe(r *Rules, peer Peer, c *protocol.Command) {
	if !r.ValidChannel(c.Unsubscribe.Channel) {
		refuse(peer, c, wire.ErrorBadRequest)
		return
	}
	id := c.Id
	left := func() { peer.Send(&protocol.Reply{Id: id, Unsubscribe: &protocol.UnsubscribeResult{}}) }
	// Ending a subscription that is not there is answered like ending one:
	// the server may have ended it while the command was on its way.
	if _, has := peer.Subscriptions(c.Unsubscribe.Channel); !has {
		left()
		return
	}
	peer.Unsubscribe(c.Unsubscribe.Channel, left)
}

func (s *Session) publish(r *Rules, peer Peer, c *protocol.Command) {
	if !r.ClientPublish {
		refuse(peer, c, wire.ErrorPermissionDenied)
		return
	}
	if !r.ValidChannel(c.Publish.Channel) || len(c.Publish.Data) == 0 {
		refuse(peer, c, wire.ErrorBadRequest)
		return
	}
	id := c.Id
	peer.Publish(c.Publish.Channel, c.Publish.Data, func(err error) {
		if err != nil {
			peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorInternal})
			return
		}
		peer.Send(&protocol.Reply{Id: id, Publish: &protocol.PublishResult{}})
	})
}

// The results of subscriptions, one that the client asked for by itself and one
// that came with its connect command, which SDKs take for a subscription of the
// server's making. Those they ask for again when they come back only if they
// are told that it is recoverable, for else the server would make it again by
// itself; what was missed meanwhile is missed all the same, which the absence of
// "recovered" says. They are shared: never write to them.
var (
	subscribed         = &protocol.SubscribeResult{}
	subscribedByServer = &protocol.SubscribeResult{Recoverable: true}
)

// replies are used again, because a Peer keeps none.
var replies = sync.Pool{New: func() any { return new(protocol.Reply) }}

// send sends the reply that fill makes, for the two commands that every
// connection begins with.
func send(peer Peer, id uint32, fill func(*protocol.Reply)) {
	reply := replies.Get().(*protocol.Reply)
	reply.Id = id
	fill(reply)
	peer.Send(reply)
	reply.Reset()
	replies.Put(reply)
}

// printable tells whether s is UTF-8 without control characters.
func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return false
		}
	}
	return true
}

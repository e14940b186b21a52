package session

import (
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func (s *Session) connect(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command) (wire.Disconnect, bool) {
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
	if r.Tokens == nil {
		s.welcome(r, peer, c.Id, channels, 0)
		return wire.Disconnect{}, true
	}
	if c.Connect.Token == "" {
		return wire.DisconnectInvalidToken, false
	}
	return wire.Disconnect{}, s.connectWithToken(r, p, peer, c, channels)
}

// connectWithToken goes on with a connect command if its token is good.
func (s *Session) connectWithToken(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command, asked []string) bool {
	id := c.Id
	s.phase = connecting
	return s.verify(r, p, peer, c.Connect.Token, func(claims Claims, err error) bool {
		if err == nil {
			err = forConnection(peer, &claims)
		}
		var channels []string
		var e *protocol.Error
		if err == nil {
			channels, e = r.granted(asked, claims.Channels)
		} else if e = fault(err, nil); e == nil {
			return s.disconnect(peer, wire.DisconnectInvalidToken)
		}
		if e != nil {
			s.phase = opened
			peer.Send(&protocol.Reply{Id: id, Error: e})
			return true
		}
		s.enter(r, peer, &claims)
		s.welcome(r, peer, id, channels, claims.Expires)
		return true
	})
}

// granted returns the channels to subscribe a connection to that asked for some,
// and whose token names some. A private channel has to be among the latter.
func (r *Rules) granted(asked, named []string) ([]string, *protocol.Error) {
	for _, channel := range asked {
		if r.Private(channel) && !slices.Contains(named, channel) {
			return nil, wire.ErrorPermissionDenied
		}
	}
	for _, channel := range named {
		if !r.ValidChannel(channel) {
			return nil, wire.ErrorBadRequest
		}
		if !slices.Contains(asked, channel) {
			asked = append(asked, channel)
		}
	}
	if len(asked) > r.MaxChannels {
		return nil, wire.ErrorLimitExceeded
	}
	return asked, nil
}

// welcome answers a connect command that is good, once its channels are there.
func (s *Session) welcome(r *Rules, peer Peer, id uint32, channels []string, expires int64) {
	result := &protocol.ConnectResult{
		Client: peer.ClientID(), Version: r.Version, Ping: r.pingSeconds(), Pong: r.PingInterval > 0,
	}
	if expires != 0 {
		result.Expires, result.Ttl = remaining(peer, expires)
	}
	if len(channels) == 0 {
		s.phase = connected
		send(peer, id, func(reply *protocol.Reply) { reply.Connect = result })
		return
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
}

func (s *Session) subscribe(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command) bool {
	channel := c.Subscribe.Channel
	if !r.ValidChannel(channel) {
		refuse(peer, c, wire.ErrorBadRequest)
		return true
	}
	switch n, has := peer.Subscriptions(channel); {
	case has:
		refuse(peer, c, wire.ErrorAlreadySubscribe)
		return true
	case n >= r.MaxChannels:
		refuse(peer, c, wire.ErrorLimitExceeded)
		return true
	case r.Private(channel):
		return s.subscribePrivate(r, p, peer, c)
	}
	id := c.Id
	peer.Subscribe(false, func(err error) {
		if err != nil {
			peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorInternal})
			return
		}
		send(peer, id, func(reply *protocol.Reply) { reply.Subscribe = subscribed })
	}, channel)
	return true
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
	if r.Private(c.Unsubscribe.Channel) {
		s.expireChannel(r, peer, c.Unsubscribe.Channel, 0)
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
	if r.Private(c.Publish.Channel) {
		if _, has := peer.Subscriptions(c.Publish.Channel); !has {
			refuse(peer, c, wire.ErrorPermissionDenied)
			return
		}
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

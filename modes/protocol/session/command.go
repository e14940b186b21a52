package session

import (
	"strings"
	"sync"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func (s *Session) connect(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command) (wire.Disconnect, bool) {
	if s.phase != opened {
		return wire.DisconnectBadRequest, false
	}
	channels, e := r.asked(c.Connect.Subs)
	if e != nil {
		refuse(peer, c, e)
		return wire.Disconnect{}, true
	}
	if r.Tokens == nil {
		s.welcome(r, p, peer, c.Id, channels, never)
		return wire.Disconnect{}, true
	}
	if c.Connect.Token == "" {
		return wire.DisconnectInvalidToken, false
	}
	return wire.Disconnect{}, s.connectWithToken(r, p, peer, c, channels)
}

// asked returns the channels that a connect command asks for, or the error that
// answers it.
func (r *Rules) asked(subs map[string]*protocol.SubscribeRequest) (channels []string, e *protocol.Error) {
	channels = make([]string, 0, len(subs))
	for channel := range subs {
		// A map has no order, so the answer must not depend on it.
		if own := r.channelError(channel); own == wire.ErrorBadRequest {
			return nil, own
		} else if own != nil {
			e = own
		}
		channels = append(channels, strings.Clone(channel))
	}
	if e == nil && len(channels) > r.MaxChannels {
		e = wire.ErrorLimitExceeded
	}
	return channels, e
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
		s.accept(r, peer, peer.Account(true), &claims)
		s.welcome(r, p, peer, id, channels, peer.Account(true).ends)
		return true
	})
}

// granted returns the channels to subscribe a connection to that asked for some,
// and whose token names some. A private channel has to be among the latter.
func (r *Rules) granted(asked, named []string) ([]string, *protocol.Error) {
	others := setOf(named)
	for _, channel := range asked {
		if r.Private(channel) && !others[channel] {
			return nil, wire.ErrorPermissionDenied
		}
		delete(others, channel)
	}
	for _, channel := range named {
		if e := r.channelError(channel); e != nil {
			return nil, e
		}
		if others[channel] {
			delete(others, channel) // it may be named twice
			asked = append(asked, channel)
		}
	}
	if len(asked) > r.MaxChannels {
		return nil, wire.ErrorLimitExceeded
	}
	return asked, nil
}

// welcome answers a connect command that is good, once its channels are there.
func (s *Session) welcome(r *Rules, p wire.Protocol, peer Peer, id uint32, channels []string, ends instant) {
	result := &protocol.ConnectResult{
		Client: peer.ClientID(), Version: r.Version, Ping: r.pingSeconds(), Pong: r.PingInterval > 0,
	}
	result.Expires, result.Ttl = remaining(peer, ends)
	if len(channels) == 0 {
		s.phase = connected
		send(peer, id, func(reply *protocol.Reply) { reply.Connect = result })
		return
	}
	s.phase = connecting
	result.Subs = make(map[string]*protocol.SubscribeResult, len(channels))
	for _, channel := range channels {
		result.Subs[channel] = subscribedByServer
	}
	peer.Subscribe(true, &connectSubscriber{s, r, p, peer, id, result}, channels...)
}

// connectSubscriber is the Subscriber of a connect command. What the client sends
// before it is answered waits.
type connectSubscriber struct {
	session  *Session
	rules    *Rules
	protocol wire.Protocol
	peer     Peer
	id       uint32
	result   *protocol.ConnectResult
}

func (c *connectSubscriber) Confirmed(err error) {
	if err != nil {
		c.session.phase = opened
		c.peer.Send(&protocol.Reply{Id: c.id, Error: wire.ErrorInternal})
		return
	}
	c.session.phase = connected
	c.peer.Send(&protocol.Reply{Id: c.id, Connect: c.result})
}

func (c *connectSubscriber) Finished() { c.session.resume(c.rules, c.protocol, c.peer) }

func (s *Session) subscribe(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command) bool {
	channel := c.Subscribe.Channel
	if !r.valid(channel) {
		refuse(peer, c, wire.ErrorBadRequest)
		return true
	}
	n, status := peer.Subscriptions(channel)
	switch {
	case s.block(peer, status):
		return true
	case status == Subscribed:
		refuse(peer, c, wire.ErrorAlreadySubscribe)
		return true
	case status == Unsubscribed && n >= r.MaxChannels && peer.Account(false).leaving():
		// It has its place once Redis has answered for those that are being left.
		s.blocked = true
		return true
	case status == Unsubscribed && n >= r.MaxChannels:
		refuse(peer, c, wire.ErrorLimitExceeded)
		return true
	case r.Private(channel):
		return s.subscribePrivate(r, p, peer, c)
	}
	s.inOrder(r, p, peer, channel, status, step{kind: stepSubscribe, id: c.Id})
	return true
}

func (s *Session) unsubscribe(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command) {
	channel := c.Unsubscribe.Channel
	if !r.valid(channel) {
		refuse(peer, c, wire.ErrorBadRequest)
		return
	}
	_, status := peer.Subscriptions(channel)
	if s.block(peer, status) {
		return
	}
	s.inOrder(r, p, peer, channel, status, step{kind: stepUnsubscribe, id: c.Id})
}

func (s *Session) publish(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command) {
	channel := c.Publish.Channel
	switch _, status := peer.Subscriptions(channel); {
	case s.block(peer, status):
	case !r.ClientPublish:
		s.refuseInOrder(r, p, peer, channel, c.Id, wire.ErrorPermissionDenied)
	case !r.valid(channel), len(c.Publish.Data) == 0:
		s.refuseInOrder(r, p, peer, channel, c.Id, wire.ErrorBadRequest)
	default:
		s.inOrder(r, p, peer, channel, status, step{kind: stepPublish, id: c.Id, data: c.Publish.Data})
	}
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

package session

import (
	"strings"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// The commands for one channel are carried out and answered in the order in which
// they came, as if each had waited for the one before, so that the last one wins.
// Only subscribing takes time: Redis has to confirm the channel. What comes for it
// meanwhile waits in a queue of its own and holds up no other channel. There is a
// queue only while something waits in it.

// stepKind is what a step does.
type stepKind uint8

const (
	stepRefuse stepKind = iota
	stepSubscribe
	stepUnsubscribe
	stepSubRefresh
	stepPublish
)

// step is a command for a channel, reduced to what it takes to carry it out.
type step struct {
	id      uint32
	kind    stepKind
	ends    instant         // when the token for the channel expires
	data    []byte          // to publish
	refusal *protocol.Error // of stepRefuse
}

// stepSize is what a step costs beside its data, in bytes, and more than it does.
const stepSize = 128

func (c *step) size() int { return stepSize + len(c.data) }

// maxQueued is how much may wait in a connection's queues, in bytes, beside one
// step.
const maxQueued = 64 << 10

// queue is what waits for one channel to be confirmed.
type queue struct {
	steps   []step
	leaves  bool // the last subscribe or unsubscribe in it is an unsubscribe
	running bool
}

// leaving reports whether a channel that is being subscribed to will be left again,
// by a command that waits.
func (a *Account) leaving() bool {
	if a == nil {
		return false
	}
	for _, q := range a.queues {
		if q.leaves {
			return true
		}
	}
	return false
}

// block reports whether a command for a channel has to wait outside its queue,
// because too much waits inside. Then all that follows it waits, too.
func (s *Session) block(peer Peer, status Status) bool {
	if status == Subscribing {
		a := peer.Account(false)
		s.blocked = a != nil && a.queued > maxQueued
	}
	return s.blocked
}

// inOrder carries a step out, now or after those before it for the same channel,
// to which the subscription's status is this.
func (s *Session) inOrder(r *Rules, p wire.Protocol, peer Peer, channel string, status Status, c step) {
	if status != Subscribing {
		s.carryOut(r, p, peer, channel, status, c)
		return
	}
	a := peer.Account(true)
	q := a.queues[channel]
	if q == nil {
		q = new(queue)
		if a.queues == nil {
			a.queues = make(map[string]*queue, 1)
		}
		a.queues[strings.Clone(channel)] = q
	}
	switch c.kind {
	case stepSubscribe:
		q.leaves = false
	case stepUnsubscribe:
		q.leaves = true
	}
	q.steps = append(q.steps, c)
	a.queued += c.size()
}

// refuseInOrder answers a command for a channel with an error.
func (s *Session) refuseInOrder(r *Rules, p wire.Protocol, peer Peer, channel string, id uint32, e *protocol.Error) {
	_, status := peer.Subscriptions(channel)
	s.inOrder(r, p, peer, channel, status, step{kind: stepRefuse, id: id, refusal: e})
}

// carryOut carries out a step whose turn it is.
func (s *Session) carryOut(r *Rules, p wire.Protocol, peer Peer, channel string, status Status, c step) {
	id := c.id
	switch c.kind {
	case stepRefuse:
		peer.Send(&protocol.Reply{Id: id, Error: c.refusal})
	case stepSubscribe:
		if status == Subscribed {
			peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorAlreadySubscribe})
			return
		}
		channel = strings.Clone(channel)
		peer.Subscribe(false, &channelSubscriber{s, r, p, peer, id, channel, c.ends}, channel)
	case stepUnsubscribe:
		// Ending a subscription that is not there is answered like ending one:
		// the server may have ended it while the command was on its way.
		if status == Subscribed {
			s.forget(peer, channel)
			peer.Unsubscribe(channel)
		}
		peer.Send(&protocol.Reply{Id: id, Unsubscribe: &protocol.UnsubscribeResult{}})
	case stepSubRefresh:
		if status != Subscribed {
			peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorPermissionDenied})
			return
		}
		s.acceptFor(r, peer, channel, c.ends)
		expires, ttl := remaining(peer, c.ends)
		peer.Send(&protocol.Reply{Id: id, SubRefresh: &protocol.SubRefreshResult{Expires: expires, Ttl: ttl}})
	case stepPublish:
		if r.Private(channel) && status != Subscribed {
			peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorPermissionDenied})
			return
		}
		units, ok := s.takeShare(len(c.data))
		if !ok {
			peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorTooManyRequests})
			return
		}
		peer.Publish(channel, c.data, func(err error) {
			s.returnShare(units)
			if err != nil {
				peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorInternal})
				return
			}
			peer.Send(&protocol.Reply{Id: id, Publish: &protocol.PublishResult{}})
		})
	}
}

// channelSubscriber is the Subscriber of a subscribe command.
type channelSubscriber struct {
	session  *Session
	rules    *Rules
	protocol wire.Protocol
	peer     Peer
	id       uint32
	channel  string
	ends     instant
}

func (c *channelSubscriber) Confirmed(err error) {
	if err != nil {
		c.peer.Send(&protocol.Reply{Id: c.id, Error: wire.ErrorInternal})
		return
	}
	result := subscribed
	if c.rules.Private(c.channel) {
		c.session.acceptFor(c.rules, c.peer, c.channel, c.ends)
		if expires, ttl := remaining(c.peer, c.ends); expires {
			result = &protocol.SubscribeResult{Expires: expires, Ttl: ttl}
		}
	}
	send(c.peer, c.id, func(reply *protocol.Reply) { reply.Subscribe = result })
}

// Finished carries out what has waited for the channel, up to the next subscribe
// that waits for Redis, and then what has waited for room.
func (c *channelSubscriber) Finished() {
	s, a := c.session, c.peer.Account(false)
	if a == nil {
		return
	}
	if q := a.queues[c.channel]; q != nil {
		if q.running {
			// A step that did not have to wait: the loop below goes on.
			return
		}
		q.running = true
		for len(q.steps) > 0 {
			_, status := c.peer.Subscriptions(c.channel)
			if status == Subscribing {
				break
			}
			next := q.steps[0]
			q.steps[0] = step{}
			q.steps = q.steps[1:]
			a.queued -= next.size()
			s.carryOut(c.rules, c.protocol, c.peer, c.channel, status, next)
		}
		if q.running = false; len(q.steps) == 0 {
			delete(a.queues, c.channel)
		}
	}
	if s.blocked {
		s.blocked = false
		s.resume(c.rules, c.protocol, c.peer)
	}
}

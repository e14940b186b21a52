package session

import (
	"math"
	"slices"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Account is what a session remembers of the tokens of its connection. It is kept
// beside the Session, so that connections without tokens do not pay for it. The
// zero value is a new one.
//
// Every right rests on a token and ends with it: the connection on the last
// connection token; a private channel on that token, if it names the channel, or on
// the last subscription token for it.
type Account struct {
	user    string
	ends    instant            // when the connection token expires
	granted []string           // private channels that the connection token names
	own     map[string]instant // when the subscription tokens expire, by channel
	next    instant            // when Expire is due
	held    *held              // nil: nothing

	resuming bool              // what is held is being handled
	queues   map[string]*queue // steps that wait for their channel, see order.go
	queued   int               // their size, in bytes
}

// ends returns when what a token is for ends, on the monotonic clock.
func (c *Claims) ends(peer Peer) instant { return instantOf(Deadline(peer.Now(), c.Expires)) }

// accept puts a connection token in the place of the last one.
func (s *Session) accept(r *Rules, peer Peer, a *Account, claims *Claims) {
	a.user = claims.User
	a.ends = claims.ends(peer)
	a.granted = nil
	for _, channel := range claims.Channels {
		if r.Private(channel) {
			a.granted = append(a.granted, channel)
		}
	}
	s.schedule(r, peer, a, a.ends)
}

// acceptFor puts a subscription token for channel in the place of the last one.
func (s *Session) acceptFor(r *Rules, peer Peer, channel string, ends instant) {
	a := peer.Account(true)
	if a.own == nil {
		a.own = make(map[string]instant, 1)
	}
	a.own[channel] = ends
	s.schedule(r, peer, a, ends)
}

// forget drops the subscription token for a channel that is not subscribed to any
// more.
func (s *Session) forget(peer Peer, channel string) {
	if a := peer.Account(false); a != nil {
		delete(a.own, channel)
	}
}

// revoke ends the subscriptions that rested on the last connection token alone and
// that the present one does not name.
func (s *Session) revoke(peer Peer, a *Account, before []string) {
	if len(before) == 0 {
		return
	}
	named := setOf(a.granted)
	for _, channel := range before {
		if _, own := a.own[channel]; !own && !named[channel] {
			named[channel] = true // it may have been named twice
			s.expireSubscription(peer, channel)
		}
	}
}

// schedule has the engine call Expire no later than the grace period after ends.
func (s *Session) schedule(r *Rules, peer Peer, a *Account, ends instant) {
	if ends != never && (a.next == never || ends < a.next) {
		a.next = ends
		peer.ExpireAt(ends.time().Add(r.TokenGrace))
	}
}

// Expire ends what has run out: the connection, or subscriptions. The engine calls
// it at the time that ExpireAt was given.
func (s *Session) Expire(r *Rules, peer Peer) {
	a := peer.Account(false)
	if a == nil {
		return
	}
	now := peer.Now()
	over := func(ends instant) bool { return ends != never && !now.Before(ends.time().Add(r.TokenGrace)) }
	if over(a.ends) {
		peer.Disconnect(wire.DisconnectExpired)
		return
	}
	next := a.ends
	for channel, ends := range a.own {
		switch {
		case over(ends):
			delete(a.own, channel)
			if !slices.Contains(a.granted, channel) {
				s.expireSubscription(peer, channel)
			}
		case ends != never && (next == never || ends < next):
			next = ends
		}
	}
	a.next = never
	s.schedule(r, peer, a, next)
}

// expireSubscription ends a subscription, if there is one, and tells the client.
func (s *Session) expireSubscription(peer Peer, channel string) {
	if _, status := peer.Subscriptions(channel); status != Subscribed {
		return
	}
	peer.Unsubscribe(channel)
	peer.Send(&protocol.Reply{Push: &protocol.Push{Channel: channel, Unsubscribe: &protocol.Unsubscribe{
		Code: wire.UnsubscribeExpired.Code, Reason: wire.UnsubscribeExpired.Reason}}})
}

// remaining is what a reply says of when its subject ends. Seconds that have begun
// do not count, so that nobody refreshes too late.
func remaining(peer Peer, ends instant) (does bool, ttl uint32) {
	if ends == never {
		return false, 0
	}
	left := int64(ends.time().Sub(peer.Now()) / time.Second)
	return true, uint32(min(max(left, 1), math.MaxInt32))
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

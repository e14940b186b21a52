package session

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Verifier checks tokens. Its methods may be called concurrently.
type Verifier interface {
	// Verify returns what a good token says. The error wraps ErrTokenExpired or
	// ErrTokenInvalid.
	Verify(token string) (Claims, error)
	// Costly tells whether Verify takes so long that an event loop should leave
	// it to others.
	Costly() bool
}

// Errors of a Verifier.
var (
	ErrTokenExpired = errors.New("session: token expired")
	ErrTokenInvalid = errors.New("session: token invalid")
)

// Claims are what a token says.
type Claims struct {
	User string
	// Channel is what a subscription token is for; empty: it is a connection
	// token.
	Channel string
	// Client is the id of the only connection that may use the token; empty: any.
	Client string
	// Channels are those that a connection token subscribes its connection to.
	Channels []string
	// Expires is when what the token is for ends, in seconds of Unix time; 0:
	// never.
	Expires int64
}

// Account is what a session remembers of a connection that needs a token. It is
// kept beside the Session, because few connections that need none should pay for
// it. The zero value is a new one.
type Account struct {
	user     string
	expires  int64             // when the connection ends, Unix seconds; 0: never
	channels map[string]int64  // when subscriptions do
	held     []held            // messages that wait while the session is suspended
	size     int               // of those, in bytes
	resuming bool              // they are being handled
	queues   map[string]*queue // steps that wait for their channel, see order.go
	queued   int               // their size, in bytes
}

// held is a message of which some commands have been handled.
type held struct {
	message []byte
	skip    int
}

// maxHeld is how much a client may send before its token is verified, in bytes,
// beside one message.
const maxHeld = 64 << 10

// Private tells whether a subscription to channel needs a token.
func (r *Rules) Private(channel string) bool {
	return r.Tokens != nil && r.PrivatePrefix != "" && strings.HasPrefix(channel, r.PrivatePrefix)
}

// hold keeps a message until the token is verified. False: it is one too many.
func (s *Session) hold(peer Peer, message []byte, skip int) bool {
	a := peer.Account(true)
	if a.size > maxHeld {
		return false
	}
	a.held = append(a.held, held{bytes.Clone(message), skip})
	a.size += len(message)
	return true
}

// verify has a token checked and calls then with the outcome; then returns whether
// the connection goes on. What the client sends meanwhile waits.
func (s *Session) verify(r *Rules, p wire.Protocol, peer Peer, token string, then func(Claims, error) bool) bool {
	if !r.Tokens.Costly() {
		return then(r.Tokens.Verify(token))
	}
	token = strings.Clone(token)
	var claims Claims
	var fault error
	s.verifying = true
	peer.Work(func() { claims, fault = r.Tokens.Verify(token) }, func(err error) {
		s.verifying = false
		if err != nil {
			fault = err
		}
		if then(claims, fault) {
			s.resume(r, p, peer)
		}
	})
	return true
}

// resume handles what was held.
func (s *Session) resume(r *Rules, p wire.Protocol, peer Peer) {
	a := peer.Account(false)
	if a == nil || a.resuming {
		return
	}
	a.resuming = true
	defer func() { a.resuming = false }()
	for len(a.held) > 0 && !s.suspended() {
		first := &a.held[0]
		handled, on := s.handle(r, p, peer, first.message, first.skip)
		switch {
		case !on:
			a.held, a.size = nil, 0
			return
		case s.suspended() && handled >= 0:
			first.skip = handled
			return
		}
		a.size -= len(first.message)
		a.held = a.held[1:]
	}
	if len(a.held) == 0 {
		a.held = nil
	}
}

// fault returns the error that a command is answered with whose token is no good,
// in the way of Centrifugo; invalid is the one for a token that never will be.
func fault(err error, invalid *protocol.Error) *protocol.Error {
	switch {
	case errors.Is(err, ErrTokenExpired):
		return wire.ErrorTokenExpired
	case errors.Is(err, ErrTokenInvalid):
		return invalid
	}
	return wire.ErrorInternal
}

// enter opens the account of a connection whose token is good.
func (s *Session) enter(r *Rules, peer Peer, claims *Claims) {
	a := peer.Account(true)
	a.user, a.expires = claims.User, claims.Expires
	s.schedule(r, peer, a)
}

// forConnection tells why a token that is good does not let this client connect;
// nil: it does.
func forConnection(peer Peer, claims *Claims) error {
	if claims.Channel != "" || claims.Client != "" && claims.Client != peer.ClientID() {
		return ErrTokenInvalid
	}
	return nil
}

// forChannel is forConnection for a subscription.
func forChannel(peer Peer, claims *Claims, channel string) error {
	a := peer.Account(false)
	if a == nil || claims.Channel != channel || claims.User != a.user || claims.Client != "" && claims.Client != peer.ClientID() {
		return ErrTokenInvalid
	}
	return nil
}

// subscribePrivate subscribes to a private channel, if the token allows it.
func (s *Session) subscribePrivate(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command) bool {
	if c.Subscribe.Token == "" {
		s.refuseInOrder(r, p, peer, c.Subscribe.Channel, c.Id, wire.ErrorPermissionDenied)
		return true
	}
	id, channel := c.Id, strings.Clone(c.Subscribe.Channel)
	return s.verify(r, p, peer, c.Subscribe.Token, func(claims Claims, err error) bool {
		if err == nil {
			err = forChannel(peer, &claims, channel)
		}
		if err != nil {
			s.refuseInOrder(r, p, peer, channel, id, fault(err, wire.ErrorPermissionDenied))
			return true
		}
		_, status := peer.Subscriptions(channel)
		s.inOrder(r, p, peer, channel, status, step{kind: stepSubscribe, id: id, expires: claims.Expires})
		return true
	})
}

// refresh gives the connection a new token.
func (s *Session) refresh(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command) bool {
	if r.Tokens == nil {
		refuse(peer, c, wire.ErrorNotAvailable)
		return true
	}
	if c.Refresh.Token == "" {
		refuse(peer, c, wire.ErrorBadRequest)
		return true
	}
	id := c.Id
	return s.verify(r, p, peer, c.Refresh.Token, func(claims Claims, err error) bool {
		a := peer.Account(false)
		if err == nil {
			err = forConnection(peer, &claims)
		}
		if err == nil && (a == nil || claims.User != a.user) {
			err = ErrTokenInvalid
		}
		switch {
		case errors.Is(err, ErrTokenExpired):
			return s.disconnect(peer, wire.DisconnectExpired)
		case errors.Is(err, ErrTokenInvalid):
			return s.disconnect(peer, wire.DisconnectInvalidToken)
		case err != nil:
			peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorInternal})
			return true
		}
		a.expires = claims.Expires
		s.schedule(r, peer, a)
		expires, ttl := remaining(peer, claims.Expires)
		peer.Send(&protocol.Reply{Id: id, Refresh: &protocol.RefreshResult{
			Client: peer.ClientID(), Version: r.Version, Expires: expires, Ttl: ttl,
		}})
		return true
	})
}

// subRefresh gives a subscription to a private channel a new token.
func (s *Session) subRefresh(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command) bool {
	channel := c.SubRefresh.Channel
	_, status := peer.Subscriptions(channel)
	switch {
	case s.block(peer, status):
		return true
	case r.Tokens == nil:
		s.refuseInOrder(r, p, peer, channel, c.Id, wire.ErrorNotAvailable)
		return true
	case status == Unsubscribed || !r.Private(channel):
		s.refuseInOrder(r, p, peer, channel, c.Id, wire.ErrorPermissionDenied)
		return true
	case c.SubRefresh.Token == "":
		s.refuseInOrder(r, p, peer, channel, c.Id, wire.ErrorBadRequest)
		return true
	}
	id := c.Id
	channel = strings.Clone(channel)
	return s.verify(r, p, peer, c.SubRefresh.Token, func(claims Claims, err error) bool {
		if err == nil {
			err = forChannel(peer, &claims, channel)
		}
		switch {
		case errors.Is(err, ErrTokenExpired):
			return s.disconnect(peer, wire.DisconnectSubExpired)
		case errors.Is(err, ErrTokenInvalid):
			return s.disconnect(peer, wire.DisconnectInvalidToken)
		case err != nil:
			s.refuseInOrder(r, p, peer, channel, id, wire.ErrorInternal)
			return true
		}
		_, status := peer.Subscriptions(channel)
		s.inOrder(r, p, peer, channel, status, step{kind: stepSubRefresh, id: id, expires: claims.Expires})
		return true
	})
}

func (s *Session) disconnect(peer Peer, d wire.Disconnect) bool {
	peer.Disconnect(d)
	return false
}

// remaining is what a reply says of when its subject ends. Seconds that have begun
// do not count, so that nobody refreshes too late.
func remaining(peer Peer, expires int64) (does bool, ttl uint32) {
	if expires == 0 {
		return false, 0
	}
	left := int64(time.Unix(expires, 0).Sub(peer.Now()) / time.Second)
	return true, uint32(min(max(left, 1), math.MaxInt32))
}

// expireChannel notes when a subscription ends.
func (s *Session) expireChannel(r *Rules, peer Peer, channel string, expires int64) {
	a := peer.Account(true)
	if expires == 0 {
		delete(a.channels, channel)
	} else {
		if a.channels == nil {
			a.channels = make(map[string]int64, 1)
		}
		a.channels[channel] = expires
	}
	s.schedule(r, peer, a)
}

// schedule has the peer call Expire when the first token runs out.
func (s *Session) schedule(r *Rules, peer Peer, a *Account) {
	next := a.expires
	for _, expires := range a.channels {
		if next == 0 || expires < next {
			next = expires
		}
	}
	if next == 0 {
		peer.ExpireAt(time.Time{})
		return
	}
	peer.ExpireAt(time.Unix(next, 0).Add(r.TokenGrace))
}

// Expire ends what has run out: the connection, or subscriptions. The engine calls
// it at the time that ExpireAt was given.
func (s *Session) Expire(r *Rules, peer Peer) {
	a := peer.Account(false)
	if a == nil {
		return
	}
	now := peer.Now()
	over := func(expires int64) bool { return expires > 0 && !now.Before(time.Unix(expires, 0).Add(r.TokenGrace)) }
	if over(a.expires) {
		peer.Disconnect(wire.DisconnectExpired)
		return
	}
	for channel, expires := range a.channels {
		if !over(expires) {
			continue
		}
		delete(a.channels, channel)
		if _, status := peer.Subscriptions(channel); status == Subscribed {
			peer.Unsubscribe(channel)
			peer.Send(&protocol.Reply{Push: &protocol.Push{Channel: channel, Unsubscribe: &protocol.Unsubscribe{
				Code: wire.UnsubscribeExpired.Code, Reason: wire.UnsubscribeExpired.Reason}}})
		}
	}
	s.schedule(r, peer, a)
}

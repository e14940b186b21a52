package session

import (
	"errors"
	"strings"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Verifier checks tokens. Its methods may be called concurrently.
type Verifier interface {
	// Verify returns what a good token says. The error wraps ErrTokenExpired,
	// ErrTokenNotYetValid or ErrTokenInvalid.
	Verify(token string) (Claims, error)
	// Costly reports whether Verify takes so long that an event loop should leave
	// it to others.
	Costly() bool
}

// Errors of a Verifier.
var (
	ErrTokenExpired     = errors.New("session: token expired")
	ErrTokenNotYetValid = errors.New("session: token not yet valid")
	ErrTokenInvalid     = errors.New("session: token invalid")
)

// MaxTokenLength is the longest token that is verified, in bytes.
const MaxTokenLength = 8 << 10

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

// verify has a token checked and calls then with the outcome; then returns whether
// the connection goes on. What the client sends meanwhile waits.
func (s *Session) verify(r *Rules, p wire.Protocol, peer Peer, token string, then func(Claims, error) bool) bool {
	if len(token) > MaxTokenLength {
		return then(Claims{}, ErrTokenInvalid)
	}
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

// resume handles what is held.
func (s *Session) resume(r *Rules, p wire.Protocol, peer Peer) {
	a := peer.Account(false)
	if a == nil || a.resuming {
		return
	}
	a.resuming = true
	defer func() { a.resuming = false }()
	for !s.suspended() {
		message, whole, ok := a.nextHeld()
		if !ok {
			return
		}
		if !s.handle(r, p, peer, message, whole, true) {
			a.held = nil
			return
		}
	}
}

// outdated reports whether a client whose token is refused with err should fetch
// another one.
func outdated(err error) bool {
	return errors.Is(err, ErrTokenExpired) || errors.Is(err, ErrTokenNotYetValid)
}

// fault returns the error that a command is answered with whose token is no good,
// in the way of Centrifugo; invalid is the one for a token that never will be.
func fault(err error, invalid *protocol.Error) *protocol.Error {
	switch {
	case outdated(err):
		return wire.ErrorTokenExpired
	case errors.Is(err, ErrTokenInvalid):
		return invalid
	}
	return wire.ErrorInternal
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
		s.inOrder(r, p, peer, channel, status, step{kind: stepSubscribe, id: id, ends: claims.ends(peer)})
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
		case outdated(err):
			return s.disconnect(peer, wire.DisconnectExpired)
		case errors.Is(err, ErrTokenInvalid):
			return s.disconnect(peer, wire.DisconnectInvalidToken)
		case err != nil:
			peer.Send(&protocol.Reply{Id: id, Error: wire.ErrorInternal})
			return true
		}
		before := a.granted
		s.accept(r, peer, a, &claims)
		s.revoke(peer, a, before)
		expires, ttl := remaining(peer, a.ends)
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
		case outdated(err):
			return s.disconnect(peer, wire.DisconnectSubExpired)
		case errors.Is(err, ErrTokenInvalid):
			return s.disconnect(peer, wire.DisconnectInvalidToken)
		case err != nil:
			s.refuseInOrder(r, p, peer, channel, id, wire.ErrorInternal)
			return true
		}
		_, status := peer.Subscriptions(channel)
		s.inOrder(r, p, peer, channel, status, step{kind: stepSubRefresh, id: id, ends: claims.ends(peer)})
		return true
	})
}

func (s *Session) disconnect(peer Peer, d wire.Disconnect) bool {
	peer.Disconnect(d)
	return false
}

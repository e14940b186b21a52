// Package session is the protocol state machine of one connection, written once
// and used by both engines: which command is allowed when, what it is answered
// with, and which limits hold. It does no I/O and starts no goroutine; what it
// wants done it asks of its Peer.
package session

import (
	"sync"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Rules are what a node allows its sessions. They are immutable and shared by
// all sessions.
type Rules struct {
	// Version is what the connect reply calls the server.
	Version string
	// PingInterval is the time between two pings; 0 sends none.
	PingInterval time.Duration
	// ClientPublish allows clients to publish.
	ClientPublish bool
	// MaxChannels is how many channels one connection may subscribe to.
	MaxChannels int
	// MaxChannelLength is the longest channel name, in bytes.
	MaxChannelLength int
	// RedisPrefix is what the names of channels begin with in Redis; it decides which
	// names are reserved there.
	RedisPrefix string
	// CommandRate is how many commands a second a connection may send in the long
	// run; 0: any number.
	CommandRate int
	// Tokens checks the tokens that clients have to connect with; nil: they need
	// none.
	Tokens Verifier
	// PrivatePrefix is what the names of the channels begin with that a
	// subscription needs a token of its own for; empty: there are none.
	PrivatePrefix string
	// TokenGrace is how long what a token is for goes on after the token has run
	// out, for the client to refresh it.
	TokenGrace time.Duration
}

// Peer is the connection, as its session sees it; an engine implements it. It
// has more than four methods because it is all that a protocol may ask of a
// socket. The session calls it only from the goroutine that called the session,
// and the Peer calls back only while the connection lives and never
// concurrently with itself or with Handle.
type Peer interface {
	// ClientID returns the id by which servers address this connection.
	ClientID() string
	// Send queues one reply; it reads reply before it returns.
	Send(reply *protocol.Reply)
	// Disconnect closes the connection after what is queued.
	Disconnect(wire.Disconnect)
	// Subscriptions returns how many channels the connection is subscribed to or
	// waits to be, and how far its subscription to channel is.
	Subscriptions(channel string) (n int, status Status)
	// Subscribe subscribes to all channels or none, and keeps their names. Once
	// Redis has confirmed them, or not, it calls the subscriber's methods, at once
	// or later. In one step with Confirmed it makes the connection a receiver, so
	// that nothing is delivered before what Confirmed sends and nothing after it
	// is missed. If messages of a server-side subscription may have been missed,
	// it closes the connection with wire.DisconnectInsufficient; if those of
	// another may, it ends that subscription.
	Subscribe(serverSide bool, s Subscriber, channels ...string)
	// Unsubscribe ends a subscription that is Subscribed.
	Unsubscribe(channel string)
	// Publish sends data to channel and calls accepted when Redis has it, or not.
	// It owns data and clones channel.
	Publish(channel string, data []byte, accepted func(error))
	// Work runs work where it may take its time, and then calls done. An error
	// says that work was not run, for there is too much of it.
	Work(work func(), done func(error))
	// Account returns what the session keeps for this connection beside itself;
	// nil: nothing. open makes one where there is none.
	Account(open bool) *Account
	// ExpireAt has Session.Expire called at that time, and not at one that was
	// given before; the zero time: never.
	ExpireAt(time.Time)
	// Now is the time, or that of the turn that the connection is served in.
	Now() time.Time
}

// Subscriber learns what becomes of a Subscribe.
type Subscriber interface {
	// Confirmed sends what the client is told of the outcome. It does not subscribe
	// or unsubscribe.
	Confirmed(err error)
	// Finished follows Confirmed. It may call the Peer as it likes.
	Finished()
}

// Status is how far a connection's subscription to a channel is.
type Status uint8

// A subscription is Subscribing until Redis has confirmed its channel.
const (
	Unsubscribed Status = iota
	Subscribing
	Subscribed
)

type phase uint8

const (
	opened phase = iota
	connecting
	connected
)

// Session is the protocol state of one connection that speaks the Centrifuge
// protocol. The zero value is a session whose client has not connected yet; it
// holds no pointers, so that an engine can keep it inside its own record. Its
// methods must not be called concurrently.
type Session struct {
	pace
	publishing   uint8 // what is on its way to Redis, see share.go
	phase        phase
	awaitingPong bool
	verifying    bool // a token; what is sent meanwhile is held in the Account
	blocked      bool // a command waits for room, see order.go; it is held, and so is what follows
}

// Connected tells whether the client has sent its connect command, answered or
// not.
func (s *Session) Connected() bool { return s.phase != opened }

// Greeted tells whether the connect command has been answered with success: from
// then on the client knows what a ping is.
func (s *Session) Greeted() bool { return s.phase == connected }

// Pinged notes that a ping was sent.
func (s *Session) Pinged() { s.awaitingPong = true }

// Ponged notes that a ping was answered by RFC 6455's pong, on connections whose
// protocol has no answer of its own.
func (s *Session) Ponged() { s.awaitingPong = false }

// AwaitingPong tells whether the last ping is still unanswered.
func (s *Session) AwaitingPong() bool { return s.awaitingPong }

// Handle acts on one complete message of the client. message stays the
// caller's.
func (s *Session) Handle(r *Rules, p wire.Protocol, peer Peer, message []byte) {
	if s.awaitingPong && s.suspended() && wire.IsPong(p, message) {
		// A client that is there must not be taken for one that is not.
		s.awaitingPong = false
		return
	}
	if !s.suspended() {
		s.handle(r, p, peer, message, true, false)
	} else if !s.hold(peer, message) {
		peer.Disconnect(wire.DisconnectTooManyRequests)
	}
}

// suspended reports whether commands have to wait: for a token to be verified, for
// the connect command to be answered, or for room.
func (s *Session) suspended() bool { return s.verifying || s.blocked || s.phase == connecting }

// spareCommands are the top level of what handle decodes. What hangs below is made anew for
// each command, because parts of it are kept.
var spareCommands = sync.Pool{New: func() any { return new(protocol.Command) }}

// handle acts on the commands of a message, or of the rest of one if whole is false,
// and holds the others if the session is suspended. owned says that message is the
// session's. It returns false if the connection ends.
func (s *Session) handle(r *Rules, p wire.Protocol, peer Peer, message []byte, whole, owned bool) bool {
	if whole && wire.MoreCommands(p, message, r.MaxCommands()) {
		return s.disconnect(peer, wire.DisconnectTooManyRequests)
	}
	command := spareCommands.Get().(*protocol.Command)
	defer spareCommands.Put(command)
	for {
		rest, err := wire.Next(p, message, command)
		if err != nil {
			return s.disconnect(peer, wire.DisconnectBadRequest)
		}
		d, on := s.command(r, p, peer, command)
		switch {
		case s.blocked:
			// It has another turn.
			s.pace.unspend()
			return s.holdRest(peer, message, owned)
		case !on && d.Code != 0:
			return s.disconnect(peer, d)
		case !on, len(rest) == 0:
			return on
		case s.suspended():
			return s.holdRest(peer, rest, owned)
		}
		message = rest
	}
}

// command handles one command; false: the connection ends with the disconnect, or
// has been told so where that has no code.
func (s *Session) command(r *Rules, p wire.Protocol, peer Peer, c *protocol.Command) (wire.Disconnect, bool) {
	if s.phase == opened && c.Connect == nil {
		return wire.DisconnectStale, false
	}
	if r.CommandRate > 0 && (c.Id != 0 || c.Send != nil) {
		if over, far := s.spend(r, seconds(peer.Now())); far {
			return wire.DisconnectTooManyRequests, false
		} else if over {
			if c.Id != 0 {
				refuse(peer, c, wire.ErrorTooManyRequests)
			}
			return wire.Disconnect{}, true
		}
	}
	if channel := channelOf(c); r.reserved(channel) && r.valid(channel) {
		refuse(peer, c, wire.ErrorUnknownChannel)
		return wire.Disconnect{}, true
	}
	if c.Id == 0 {
		switch {
		case c.Send != nil:
			// There is nobody to send to, and the protocol has no answer.
		case !s.awaitingPong || !empty(c):
			return wire.DisconnectBadRequest, false
		default:
			s.awaitingPong = false
		}
		return wire.Disconnect{}, true
	}
	switch {
	case c.Connect != nil:
		return s.connect(r, p, peer, c)
	case c.Subscribe != nil:
		return wire.Disconnect{}, s.subscribe(r, p, peer, c)
	case c.Unsubscribe != nil:
		s.unsubscribe(r, p, peer, c)
	case c.Publish != nil:
		s.publish(r, p, peer, c)
	case c.Ping != nil:
		peer.Send(&protocol.Reply{Id: c.Id, Ping: &protocol.PingResult{}})
	case c.Refresh != nil:
		return wire.Disconnect{}, s.refresh(r, p, peer, c)
	case c.SubRefresh != nil:
		return wire.Disconnect{}, s.subRefresh(r, p, peer, c)
	case c.Presence != nil:
		s.refuseInOrder(r, p, peer, c.Presence.Channel, c.Id, wire.ErrorNotAvailable)
	case c.PresenceStats != nil:
		s.refuseInOrder(r, p, peer, c.PresenceStats.Channel, c.Id, wire.ErrorNotAvailable)
	case c.History != nil:
		s.refuseInOrder(r, p, peer, c.History.Channel, c.Id, wire.ErrorNotAvailable)
	case c.Rpc != nil:
		refuse(peer, c, wire.ErrorNotAvailable)
	default:
		refuse(peer, c, wire.ErrorMethodNotFound)
	}
	return wire.Disconnect{}, true
}

// empty tells whether a command without id has no content: the answer to a
// ping.
func empty(c *protocol.Command) bool {
	return c.Connect == nil && c.Subscribe == nil && c.Unsubscribe == nil && c.Publish == nil &&
		c.Presence == nil && c.PresenceStats == nil && c.History == nil && c.Ping == nil &&
		c.Rpc == nil && c.Refresh == nil && c.SubRefresh == nil
}

func refuse(peer Peer, c *protocol.Command, e *protocol.Error) {
	peer.Send(&protocol.Reply{Id: c.Id, Error: e})
}

// channelOf returns the channel that a command other than connect names.
func channelOf(c *protocol.Command) string {
	switch {
	case c.Subscribe != nil:
		return c.Subscribe.Channel
	case c.Unsubscribe != nil:
		return c.Unsubscribe.Channel
	case c.Publish != nil:
		return c.Publish.Channel
	case c.SubRefresh != nil:
		return c.SubRefresh.Channel
	case c.Presence != nil:
		return c.Presence.Channel
	case c.PresenceStats != nil:
		return c.PresenceStats.Channel
	case c.History != nil:
		return c.History.Channel
	}
	return ""
}

// MaxCommands is how many commands one message may hold: more than a client sends
// when it comes back with a subscription to each of its channels and has others to
// end.
func (r *Rules) MaxCommands() int { return 1000 + 2*r.MaxChannels }

// pingSeconds is the interval as the protocol states it, in whole seconds.
func (r *Rules) pingSeconds() uint32 {
	return uint32((r.PingInterval + time.Second - 1) / time.Second)
}

// Package session is the protocol state machine of one connection, written once
// and used by both engines: which command is allowed when, what it is answered
// with, and which limits hold. It does no I/O and starts no goroutine; what it
// wants done it asks of its Peer.
package session

import (
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/wire"
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
	// Subscriptions returns how many channels the connection is subscribed
	// to, or is about to be, and whether channel is one of them.
	Subscriptions(channel string) (n int, has bool)
	// Subscribe subscribes to all channels or none. Once Redis has confirmed
	// them it calls confirmed and makes the connection a receiver in one step,
	// so that nothing is delivered before what confirmed sends and nothing
	// after it is missed. It clones the names it keeps. Where messages of a
	// server-side subscription may have been missed the connection is closed
	// with wire.DisconnectInsufficient, where those of another may, that
	// subscription is ended.
	Subscribe(serverSide bool, confirmed func(error), channels ...string)
	// Unsubscribe ends a subscription and then calls left; one that is not
	// confirmed yet ends once it is.
	Unsubscribe(channel string, left func())
	// Publish sends data to channel and calls accepted when Redis has it. It
	// owns data and clones channel.
	Publish(channel string, data []byte, accepted func(error))
}

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
	phase        phase
	awaitingPong bool
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
	ended := false
	err := wire.Commands(p, message, func(c *protocol.Command) bool {
		d, ok := s.command(r, peer, c)
		if !ok {
			ended = true
			peer.Disconnect(d)
		}
		return ok
	})
	if err != nil && !ended {
		peer.Disconnect(wire.DisconnectBadRequest)
	}
}

// command handles one command; false: the connection ends with the disconnect.
func (s *Session) command(r *Rules, peer Peer, c *protocol.Command) (wire.Disconnect, bool) {
	if s.phase == opened && c.Connect == nil {
		return wire.DisconnectStale, false
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
		return s.connect(r, peer, c)
	case c.Subscribe != nil:
		s.subscribe(r, peer, c)
	case c.Unsubscribe != nil:
		s.unsubscribe(r, peer, c)
	case c.Publish != nil:
		s.publish(r, peer, c)
	case c.Ping != nil:
		peer.Send(&protocol.Reply{Id: c.Id, Ping: &protocol.PingResult{}})
	case c.Presence != nil, c.PresenceStats != nil, c.History != nil, c.Rpc != nil,
		c.Refresh != nil, c.SubRefresh != nil:
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

// ValidChannel says whether a channel may bear this name: 1 to MaxChannelLength
// bytes of UTF-8 without control characters.
func (r *Rules) ValidChannel(name string) bool {
	return name != "" && len(name) <= r.MaxChannelLength && printable(name)
}

// pingSeconds is the interval as the protocol states it, in whole seconds.
func (r *Rules) pingSeconds() uint32 {
	return uint32((r.PingInterval + time.Second - 1) / time.Second)
}

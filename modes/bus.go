package modes

import (
	"strconv"
	"time"
)

// Bus subscribes a node to channels, feeds what is published to them to a
// Receiver, and publishes. Nothing in it blocks: whatever has to wait completes
// through a callback. All methods may be called concurrently, and from
// callbacks, unless they say otherwise.
//
// A callback named done runs exactly once, on a goroutine of the bus and never
// inside the call that it was passed to, so the caller may hold locks that done
// takes. It must not block: publications wait for it. After Close there is no
// goroutine left, so done gets its error before the call returns.
type Bus interface {
	// Start connects in the background, stays connected, and feeds receiver. It
	// may be called once.
	Start(receiver Receiver) error

	// Close disconnects, fails everything that waits, and returns when every
	// goroutine of the bus has ended. It must not be called from a callback or
	// by the Receiver.
	Close()

	// Subscribe takes one reference on channel. done gets nil once the channel
	// is confirmed on the present link: every publication that is accepted from
	// then on reaches the Receiver. done gets an error if the link is down or
	// breaks, if the channel is refused, or if there is no confirmation in time;
	// then no reference is held. The bus keeps the string, so channel must not be
	// part of a larger one.
	Subscribe(channel string, done func(error))

	// Unsubscribe gives back one reference, for which done has got nil.
	Unsubscribe(channel string)

	// Publish queues data for channel. Calls from one goroutine are accepted in
	// order. done gets nil when the message is accepted. The bus owns data until
	// then.
	Publish(channel string, data []byte, done func(error))

	// Ready is nil while every link is up and every referenced channel confirmed
	// on it. An engine with no means of telling a client of a gap asks it before
	// it admits one, because a channel that is subscribed already may be about
	// to have one.
	Ready() error

	// Stats returns a snapshot. It is cheap enough for every scrape.
	Stats() BusStats
}

// Receiver is what a Bus feeds. An engine implements it. None of its methods may
// wait for a client.
type Receiver interface {
	// Deliver hands over one publication. For any one channel the calls come in
	// order from one goroutine; for different channels they may be concurrent.
	Deliver(p Publication)

	// Flush says that the caller has no more publications at hand and is going
	// to wait for some: what it has handed over must leave now. A Bus calls it
	// after one or more Deliver, on the same goroutine.
	Flush()

	// Lost says that publications to these channels may have been missed. It
	// comes before any later publication of the channel.
	Lost(channels []string)
}

// Publication is one message published to a channel. Its bytes belong to the bus
// and are valid during the call that it is passed to.
type Publication struct {
	Channel []byte
	Data    []byte

	// Position is where the publication stands in the channel's history; the
	// zero value if the channel has none.
	Position Position
	// Recovered reports whether the publication was read from the history, after
	// it had been missed, and not received live.
	Recovered bool
}

// Position is a point in a channel's history.
type Position struct {
	Epoch  string // changes when the history begins anew; empty: none
	Offset uint64
}

// BusStats is a snapshot of a Bus. Counters count since it was made.
type BusStats struct {
	Links []LinkStats // one for each connection that receives

	CommandLinkUp      bool          // the connection that publishes works
	CommandRoundTrip   time.Duration // of its last heartbeat
	Published          uint64        // publications accepted
	PublishErrors      uint64        // publications not accepted, whatever the reason
	QueuedPublishes    int           // passed to Publish, done not called yet
	QueuedPublishBytes int
}

// LinkStats is a snapshot of one connection that receives.
type LinkStats struct {
	State        LinkState
	Connects     uint64        // successful ones; reconnects are one less
	RoundTrip    time.Duration // of the last heartbeat
	Channels     int           // subscribed, lingering or about to be
	References   int           // held by Subscribe calls
	Publications uint64        // received
	LostChannels uint64        // channels reported as lost, each time counted
	RefusedJoins uint64        // subscriptions that were refused
	// RefusedChannels are those that are referenced and refused at present.
	RefusedChannels int
	PendingGaps     int    // channels not yet subscribed again after a break
	LastDownCause   string // empty while the link is up
}

// LinkState is the state of a connection that receives.
type LinkState int32

// The states of a connection.
const (
	LinkDown        LinkState = iota // not connected, trying
	LinkSubscribing                  // connected, subscribing again to what was there before
	LinkUp                           // connected, and every channel confirmed
)

func (s LinkState) String() string {
	switch s {
	case LinkDown:
		return "down"
	case LinkSubscribing:
		return "subscribing"
	case LinkUp:
		return "up"
	}
	return "LinkState(" + strconv.Itoa(int(s)) + ")"
}

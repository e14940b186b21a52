package modes

import "context"

// Bus is the link to Redis as an engine sees it. All methods may be called
// concurrently.
type Bus interface {
	// Subscribe takes one reference on channel and returns once Redis has
	// confirmed the subscription: every PUBLISH that Redis executes after
	// that reaches the Receiver. It blocks; ctx bounds the wait. On error no
	// reference is held.
	Subscribe(ctx context.Context, channel string) error

	// Unsubscribe gives one reference back. It never blocks.
	Unsubscribe(channel string)

	// Publish queues data for channel and returns at once. Calls from one
	// goroutine reach Redis in order. done runs exactly once, on a goroutine
	// of the bus, must not block, and gets nil when Redis has accepted the
	// message. The bus owns data until then.
	Publish(channel string, data []byte, done func(error))

	// Ready is nil while the link to Redis is up. It never blocks. Who has no way
	// to tell a client of a gap asks it before he lets one in, for a channel
	// that is subscribed already may be about to have one.
	Ready() error
}

// Receiver is what a Bus feeds. An engine implements it.
type Receiver interface {
	// Deliver hands over one publication. For any one channel the calls come
	// in order from one goroutine; for different channels they may be
	// concurrent. It must not wait for a client. channel and data are the
	// caller's, and valid during the call only.
	Deliver(channel, data []byte)

	// Flush says that the caller has no more publications at hand and is going
	// to wait for some: what it has handed over must leave now. A Bus calls it
	// after one or more Deliver, on the same goroutine. It must not wait for a
	// client.
	Flush()

	// Lost says that publications to these channels may have been missed: the
	// Redis link broke, and is subscribed again. It must not wait for a
	// client.
	Lost(channels []string)
}

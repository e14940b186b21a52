package idiomatic

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// The connection is its session's peer. The methods of session.Peer are called
// with mu held, and so is what they call back.
var _ session.Peer = (*connection)(nil)

// subscription is one channel of a connection.
type subscription struct {
	confirmed  bool // the connection is a member of the channel in the hub
	serverSide bool // it came with the connect command
}

// request is one Subscribe on its way to the bus and back.
type request struct {
	channels   []string
	subscriber session.Subscriber
	held       []string // channels for which the bus has given a reference
	unanswered int      // those that it has not answered for
	err        error
}

// ClientID implements session.Peer.
func (c *connection) ClientID() string { return c.id.String() }

// Send implements session.Peer.
func (c *connection) Send(reply *protocol.Reply) {
	if c.ended {
		return
	}
	c.engine.stats.Answered(reply)
	if reply.Connect != nil {
		c.greeted = true
	}
	c.reply(newMessage(wire.ReplyFrame(c.protocol, reply), false))
}

// reply adds a message to those that flush will queue; mu is held. The answers to one
// message are bounded as what waits is.
func (c *connection) reply(m *message) {
	if c.answerBytes += m.size; c.excess || c.answerBytes > c.engine.limits.MaxQueuedBytes && c.answers != nil {
		c.excess = true
		c.engine.stats.Dropped.WithLabelValues(wire.DisconnectSlow.Reason).Inc()
		return
	}
	if c.last == nil {
		c.answers = m
	} else {
		c.last.next = m
	}
	c.last = m
}

// flush queues what reply has gathered; mu is held.
func (c *connection) flush() {
	answers, excess := c.answers, c.excess
	c.answers, c.last, c.answerBytes, c.excess = nil, nil, 0, false
	if answers != nil && !c.ended && c.enqueue(answers) {
		c.engine.stats.FramesOut.Add(uint64(answers.frames()))
		c.engine.stats.BytesOut.Add(uint64(answers.bytes()))
	}
	if excess {
		c.close(slow())
	}
}

// Disconnect implements session.Peer.
func (c *connection) Disconnect(d wire.Disconnect) {
	c.flush()
	c.close(goodbye(d))
}

// Subscriptions implements session.Peer.
func (c *connection) Subscriptions(channel string) (n int, status session.Status) {
	if s := c.channels[channel]; s != nil {
		status = session.Subscribing
		if s.confirmed {
			status = session.Subscribed
		}
	}
	return len(c.channels), status
}

// Subscribe implements session.Peer. Its answer comes from the bus.
func (c *connection) Subscribe(serverSide bool, s session.Subscriber, channels ...string) {
	if c.ended {
		return
	}
	if c.channels == nil {
		c.channels = make(map[string]*subscription, len(channels))
	}
	bus := c.engine.config.Bus
	// While the bus is ready, a channel that has members is confirmed on the present
	// link. Else it need not be, and the bus is asked.
	if len(channels) == 1 && bus.Ready() == nil && c.engine.hub.joinOthers(channels[0], c, func() {
		c.channels[channels[0]] = &subscription{confirmed: true, serverSide: serverSide}
		s.Confirmed(nil)
		c.flush()
	}) {
		s.Finished()
		return
	}
	r := &request{channels: channels, subscriber: s, unanswered: len(channels)}
	for _, channel := range channels {
		c.channels[channel] = &subscription{serverSide: serverSide}
		bus.Subscribe(channel, func(err error) {
			if !c.post(func() { c.answered(r, channel, err) }) {
				// The connection has ended: what the request holds is given back.
				c.mu.Lock()
				c.answered(r, channel, err)
				c.mu.Unlock()
			}
		})
	}
}

// answered acts on the bus's answer for one channel of a request.
func (c *connection) answered(r *request, channel string, err error) {
	if err == nil {
		r.held = append(r.held, channel)
	} else {
		r.err = err
	}
	if r.unanswered--; c.ended || r.unanswered == 0 && r.err != nil {
		for _, channel := range r.held {
			c.engine.config.Bus.Unsubscribe(channel)
		}
		r.held = nil
	}
	switch {
	case c.ended || r.unanswered > 0:
		return
	case r.err != nil:
		for _, channel := range r.channels {
			delete(c.channels, channel)
		}
		r.subscriber.Confirmed(r.err)
	default:
		// The reply is queued in one step with all memberships: before all pushes,
		// and not before any of the channels that it names would reach the client.
		c.join(r.channels, func() {
			for _, channel := range r.channels {
				c.channels[channel].confirmed = true
			}
			r.subscriber.Confirmed(nil)
			c.flush()
		})
	}
	r.subscriber.Finished()
}

// Unsubscribe implements session.Peer.
func (c *connection) Unsubscribe(channel string) {
	if s := c.channels[channel]; s == nil || !s.confirmed {
		return
	}
	delete(c.channels, channel)
	c.depart(channel)
}

// Publish implements session.Peer.
func (c *connection) Publish(channel string, data []byte, accepted func(error)) {
	c.engine.config.Bus.Publish(strings.Clone(channel), data, func(err error) {
		c.post(func() {
			if !c.ended {
				accepted(err)
			}
		})
	})
}

// Work implements session.Peer.
func (c *connection) Work(work func(), done func(error)) {
	c.engine.running.Go(func() {
		work()
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.ended {
			done(nil)
			c.flush()
		}
	})
}

// Account implements session.Peer.
func (c *connection) Account(open bool) *session.Account {
	if c.account == nil && open {
		c.account = new(session.Account)
	}
	return c.account
}

// ExpireAt implements session.Peer.
func (c *connection) ExpireAt(at time.Time) {
	if c.expiry != nil {
		c.expiry.Stop()
		c.expiry = nil
	}
	if !at.IsZero() && !c.ended {
		c.expiry = time.AfterFunc(time.Until(at), c.expire)
	}
}

// Now implements session.Peer.
func (c *connection) Now() time.Time { return time.Now() }

// expire ends what has run out.
func (c *connection) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
	case c.protocol.Session():
		c.session.Expire(&c.engine.config.Rules, c)
		c.flush()
	default:
		c.close(goodbye(wire.DisconnectExpired))
	}
}

// lose tells the client that messages of channel may have been missed since its
// subscription, if that is older than epoch. In a session it ends the subscription:
// SDKs subscribe again. What the server has subscribed them to they do not, so that
// there the connection ends, and they come back.
func (c *connection) lose(channel string, epoch uint64, told *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.channels[channel]
	if c.ended || s == nil || !s.confirmed {
		return
	}
	if !c.protocol.Session() {
		c.engine.stats.Gaps.Add(1)
		if c.enqueue(told) {
			c.engine.stats.FramesOut.Add(1)
			c.engine.stats.BytesOut.Add(uint64(told.size))
		}
		return
	}
	was, empty := c.engine.hub.leave(channel, c, epoch, func() {
		c.engine.stats.Gaps.Add(1)
		c.flush()
		if s.serverSide {
			c.close(goodbye(wire.DisconnectInsufficient))
		} else if c.enqueue(told) {
			c.engine.stats.FramesOut.Add(1)
			c.engine.stats.BytesOut.Add(uint64(told.size))
		}
	})
	if was {
		delete(c.channels, channel)
	}
	if empty {
		c.engine.config.Bus.Unsubscribe(channel)
	}
}

// join makes the connection a member of channels, with a reference of the bus for
// each; mu is held.
func (c *connection) join(channels []string, first func()) {
	for _, channel := range c.engine.hub.join(channels, c, first) {
		c.engine.config.Bus.Unsubscribe(channel)
	}
}

// depart ends a membership; mu is held.
func (c *connection) depart(channel string) {
	if _, empty := c.engine.hub.leave(channel, c, always, nil); empty {
		c.engine.config.Bus.Unsubscribe(channel)
	}
}

// subscribeNow takes a reference on every channel, or on none, for a caller that
// waits for the bus's answers as long as ctx allows.
func subscribeNow(ctx context.Context, bus modes.Bus, channels []string) error {
	r := reservation{bus: bus, unanswered: len(channels), over: make(chan struct{})}
	for _, channel := range channels {
		bus.Subscribe(channel, func(err error) { r.answered(channel, err) })
	}
	select {
	case <-r.over:
	case <-ctx.Done():
		r.cancel(ctx.Err())
	}
	return r.outcome()
}

// reservation is one subscribeNow.
type reservation struct {
	bus  modes.Bus
	over chan struct{} // closed when all has been answered

	mu         sync.Mutex // guards what follows
	held       []string   // channels for which the bus has given a reference
	unanswered int
	err        error
}

// answered takes the bus's answer for one channel.
func (r *reservation) answered(channel string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil && r.err == nil:
		r.held = append(r.held, channel)
	case err == nil:
		r.bus.Unsubscribe(channel)
	default:
		r.fail(err)
	}
	if r.unanswered--; r.unanswered == 0 {
		close(r.over)
	}
}

// fail gives back what is held; mu is held. What is still to come is given back when
// it comes.
func (r *reservation) fail(err error) {
	r.err = err
	for _, channel := range r.held {
		r.bus.Unsubscribe(channel)
	}
	r.held = nil
}

// cancel makes a failure of what is not over.
func (r *reservation) cancel(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unanswered > 0 {
		r.fail(err)
	}
}

func (r *reservation) outcome() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

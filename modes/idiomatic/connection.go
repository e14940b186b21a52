package idiomatic

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/liveness"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// connection is one client's WebSocket, or stream over HTTP. Two goroutines, read
// and write, own it together, or write alone; the last to end finishes it.
type connection struct {
	// What every delivery touches comes first.
	protocol wire.Protocol
	deflate  bool  // permessage-deflate has been negotiated
	queue    queue // from the hub and the session to write
	// throttled says that the reader waits for the queue.
	throttled atomic.Bool
	ending    atomic.Pointer[ending]
	engine    *Engine
	ws        *websocket.Conn // set before read and write start
	stream    *stream         // in its stead, over HTTP
	socket    *socket
	id        session.ID
	address   admission.Address // that it counts as one of
	left      atomic.Int32      // goroutines that have ended
	mailbox   mailbox           // from the bus to write

	mu       sync.Mutex // guards what follows; never held across I/O
	session  session.Session
	greeted  bool // the connect command has been answered
	excess   bool // the message at hand has more answers than a message may have
	pinged   bool // an RFC 6455 ping waits for its pong
	ended    bool // no more members, references or messages may be added
	channels map[string]*subscription
	// answers and last are the ends of a chain that flush will queue.
	answers, last *message
	answerBytes   int // of them
	// account and expiry are there where the client came with a token.
	account *session.Account
	expiry  *time.Timer
}

// ending is how and why a connection ends. The first one counts.
type ending struct {
	frame  wire.Frame // close frame to send; nil: none
	reason string     // metrics label
	flush  bool       // what is queued goes out first
	linger bool       // the client may be sending still
	// disconnect is what frame says.
	disconnect wire.Disconnect
	// limit resets the socket when closing takes too long, see connection.overtime.
	limit *time.Timer
	watch liveness.Watch // belongs to limit
}

// dropped is the metrics label for what is not sent because of the ending.
func (e *ending) dropped() string {
	if e.reason == wire.DisconnectSlow.Reason {
		return e.reason
	}
	return modes.ReasonConnectionEnded
}

// goodbye ends a connection with d, after what is queued.
func goodbye(d wire.Disconnect) *ending {
	reason := d.Reason
	if reason == "" {
		reason = strconv.Itoa(int(d.Code))
	}
	return &ending{frame: wire.CloseFrame(d), disconnect: d, reason: reason, flush: true}
}

// slow ends a connection that does not take what is queued for it.
func slow() *ending {
	e := goodbye(wire.DisconnectSlow)
	e.flush = false
	return e
}

// newConnection returns the connection for a socket that is about to be
// upgraded.
func newConnection(e *Engine, p wire.Protocol, s *socket) *connection {
	return &connection{
		engine: e, id: session.NewID(), protocol: p, socket: s,
		// A request before this one may have been a handshake.
		deflate: s.frames.deflate && !p.OverHTTP(),
		queue:   newQueue(e.send, e.limits.MaxQueuedBytes, e.stats, s),
	}
}

// form is how the connection is sent publications.
func (c *connection) form() wire.Form { return c.protocol.Form(c.deflate) }

// start gives the connection its goroutines. The caller has added it to the
// engine.
func (c *connection) start(ws *websocket.Conn) {
	c.ws = ws
	c.socket.patience.Store(int64(liveness.WriteTimeout(&c.engine.limits)))
	// What is to be compressed comes compressed: see message.
	ws.EnableWriteCompression(false)
	c.opened()
	go c.read()
	go c.write()
}

// opened counts the connection as one that has come to life.
func (c *connection) opened() {
	c.engine.stats.HandshakeTime.Observe(c.socket.came.Seconds())
	c.engine.stats.Accepted.WithLabelValues(c.protocol.String()).Inc()
	c.debug("connection opened", slog.String("remote", c.socket.RemoteAddr().String()))
}

// close begins to end the connection; false: it was ending already. It may be
// called concurrently, and never waits.
func (c *connection) close(e *ending) bool {
	if c.ending.Load() != nil {
		return false
	}
	if c.queue.bytes.Load() > 0 {
		e.watch.Begin(modes.Now(), c.socket.flow())
	}
	e.limit = time.AfterFunc(modes.CloseWait, c.overtime)
	if !c.ending.CompareAndSwap(nil, e) {
		e.limit.Stop()
		return false
	}
	c.engine.stats.Disconnected.WithLabelValues(e.reason).Inc()
	c.queue.wake()
	return true
}

// overtime resets a connection that takes too long to close, unless its client is
// still receiving.
func (c *connection) overtime() {
	e := c.ending.Load()
	wait, over := e.watch.Closing(modes.Now(), c.socket.flow(), int(c.queue.bytes.Load()))
	switch {
	case over:
		c.socket.reset()
	case c.left.Load() < 2:
		e.limit.Reset(wait)
	}
}

// abandon ends the connection with hardly any time for the client.
func (c *connection) abandon(d wire.Disconnect) {
	c.close(goodbye(d))
	time.AfterFunc(abandonTime, c.socket.reset)
}

// abandonTime is what the closing handshake gets when the engine stops.
const abandonTime = time.Second

// enqueue queues m without waiting; false: it was dropped. A client over its
// bound is disconnected. The caller is a member's delivery, or holds mu and has
// seen that the connection has not ended.
func (c *connection) enqueue(m *message) bool {
	ending := c.ending.Load()
	if ending == nil {
		if c.queue.add(m) {
			return true
		}
		ending = slow()
		c.close(ending)
	}
	c.engine.stats.Dropped.WithLabelValues(ending.dropped()).Add(m.frames())
	return false
}

// detach takes the connection out of everything that could queue for it. The
// writer calls it once.
func (c *connection) detach() {
	c.end()
	c.mailbox.close()
	// What has come gives back what the bus has given.
	c.runTasks()
}

func (c *connection) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.ExpireAt(time.Time{})
	for channel, s := range c.channels {
		if s.confirmed {
			c.depart(channel)
		}
	}
	c.channels = nil
	c.answers, c.last, c.answerBytes = nil, nil, 0
}

// member makes a connection that is not upgraded yet a member of channels, for
// which it holds references of the bus, until expires, if that is not zero.
func (c *connection) member(channels []string, expires time.Time) {
	if len(channels) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channels = make(map[string]*subscription, len(channels))
	for _, channel := range channels {
		c.channels[channel] = &subscription{confirmed: true}
	}
	c.join(channels, func() {})
	c.ExpireAt(expires)
}

// stillborn ends a connection that was not upgraded after all.
func (c *connection) stillborn() {
	c.detach()
	c.drop(modes.ReasonConnectionEnded)
	c.engine.release(c.protocol, c.address)
	c.engine.remove(c)
	c.engine.running.Add(-2)
}

// drop counts and forgets what is still queued.
func (c *connection) drop(reason string) {
	var waiting []*message
	for n := len(c.queue.ready); n > 0; n-- {
		waiting = append(waiting, <-c.queue.ready)
	}
	c.dropAll(append(waiting, c.queue.remainder()...), reason)
}

func (c *connection) dropAll(messages []*message, reason string) {
	for _, m := range messages {
		c.engine.stats.Dropped.WithLabelValues(reason).Add(m.frames())
		c.queue.done(int(m.bytes()))
	}
}

// leave is called once by read and write each, last.
func (c *connection) leave() {
	defer c.engine.running.Done()
	if c.left.Add(1) == 2 {
		c.finish()
	}
}

// finish is the end of the connection.
func (c *connection) finish() {
	ending := c.ending.Load()
	ending.limit.Stop()
	c.socket.patience.Store(0)
	if c.stream == nil {
		// Nothing can be done about an error here.
		_ = c.socket.Close()
	}
	e := c.engine
	e.release(c.protocol, c.address)
	c.debug("connection closed", slog.String("reason", ending.reason))
	e.remove(c)
}

func (c *connection) debug(what string, attr slog.Attr) {
	ctx := context.Background()
	if c.engine.log.Enabled(ctx, slog.LevelDebug) {
		c.engine.log.LogAttrs(ctx, slog.LevelDebug, what,
			slog.String("client", c.id.String()), slog.String("protocol", c.protocol.String()), attr)
	}
}

package idiomatic

import (
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/liveness"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// write is the connection's writer goroutine.
func (c *connection) write() {
	defer c.leave()
	defer c.queue.close()
	c.writeMessages()
	c.detach()
	c.farewell(c.ending.Load())
}

// writeMessages sends what is queued, and pings, until the connection ends.
func (c *connection) writeMessages() {
	l := &c.engine.limits
	var pings <-chan time.Time
	if l.PingInterval > 0 {
		ticker := time.NewTicker(l.PingInterval)
		defer ticker.Stop()
		pings = ticker.C
	}
	// due is when the client must have sent its connect command or answered
	// the last ping, whichever is awaited. late is nil while neither is: each
	// channel more to select from costs every message time.
	due := time.NewTimer(l.HandshakeTimeout)
	defer due.Stop()
	var late <-chan time.Time
	if l.HandshakeTimeout > 0 && c.protocol.Session() {
		late = due.C
	} else {
		due.Stop()
	}
	var watch liveness.Watch
	for c.ending.Load() == nil {
		c.runTasks()
		var err error
		select {
		case m := <-c.queue.ready:
			err = c.writeQueued(m)
		case <-pings:
			var asked bool
			if asked, err = c.ping(); asked && l.PongTimeout > 0 {
				watch = liveness.Watch{}
				due.Reset(l.PongTimeout)
				late = due.C
			}
		case <-late:
			if wait := c.overdue(&watch); wait > 0 {
				due.Reset(wait)
			} else {
				late = nil
			}
		}
		if err != nil {
			c.close(writeFailed(err))
			return
		}
	}
}

// writeQueued sends m and what waits behind it.
func (c *connection) writeQueued(m *message) error {
	for n := len(c.queue.ready); ; n-- {
		if err := c.writeChain(m); err != nil || c.ending.Load() != nil {
			return err
		}
		if n <= 0 {
			return errors.Join(c.writeBacklog(c.queue.rest()), c.flushStream())
		}
		m = <-c.queue.ready
	}
}

// writeBacklog sends the backlog. What it cannot send it drops.
func (c *connection) writeBacklog(backlog []*message) error {
	for i, m := range backlog {
		ending := c.ending.Load()
		if ending != nil && !ending.flush {
			c.dropAll(backlog[i:], ending.dropped())
			return nil
		}
		if err := c.writeChain(m); err != nil {
			c.dropAll(backlog[i+1:], modes.ReasonConnectionEnded)
			return err
		}
	}
	return nil
}

// writeChain sends m and what follows it.
func (c *connection) writeChain(m *message) (err error) {
	for ; m != nil; m = m.next {
		if err == nil && m.kind != 0 {
			err = c.writeMessage(m)
			if err == nil && m.received != 0 {
				c.engine.stats.WriteLatency.Observe(m.received.Seconds())
			}
		}
		c.queue.done(m.size)
	}
	return err
}

// writeMessage sends m in one write.
func (c *connection) writeMessage(m *message) error {
	if c.stream != nil {
		return c.writeStream(m)
	}
	if m.kind == websocket.PingMessage || m.kind == websocket.PongMessage {
		return c.ws.WriteControl(m.kind, m.payload, time.Time{})
	}
	if m.frame != nil {
		// Nobody else writes, gorilla included.
		_, err := c.socket.Write(m.frame)
		return err
	}
	if m.prepared != nil {
		return c.ws.WritePreparedMessage(m.prepared)
	}
	return c.ws.WriteMessage(m.kind, m.payload)
}

// ping asks whether the client is there, if it is time to ask. What is queued was
// due before: the reply to connect, above all, which no ping may precede.
func (c *connection) ping() (asked bool, err error) {
	if len(c.queue.ready) > 0 {
		// Nobody else takes from the queue, so this does not wait.
		if err := c.writeQueued(<-c.queue.ready); err != nil || c.ending.Load() != nil {
			return false, err
		}
	}
	if c.stream != nil {
		return false, c.keepAlive()
	}
	if !c.askable() {
		return false, nil
	}
	frame := wire.PingFrame(c.protocol)
	c.engine.stats.FramesOut.Add(1)
	c.engine.stats.BytesOut.Add(uint64(len(frame)))
	return true, c.writeMessage(&message{kind: int(frame.OpCode()), payload: frame.Payload()})
}

// askable notes that a ping is on its way, if it may be: a session has to be
// connected, and a client that is late with its answer would answer both, which
// is a violation.
func (c *connection) askable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.pinged, c.session.AwaitingPong():
		return false
	case !c.protocol.Session():
		c.pinged = true
		return true
	case c.greeted:
		c.session.Pinged()
	}
	return c.greeted
}

// overdue ends the connection if the client owes an answer, and has what it is to
// answer; else, or where nothing is owed, it returns when to look again, or 0.
func (c *connection) overdue(watch *liveness.Watch) (wait time.Duration) {
	c.mu.Lock()
	stale := c.protocol.Session() && !c.session.Connected()
	silent := c.session.AwaitingPong() || c.pinged
	c.mu.Unlock()
	switch {
	case stale:
		c.close(goodbye(wire.DisconnectStale))
	case silent:
		wait, d, over := watch.Pong(modes.Now(), c.socket.flow(), int(c.queue.bytes.Load()), c.throttled.Load(), &c.engine.limits)
		if !over {
			return wait
		}
		c.close(goodbye(d))
	}
	return 0
}

// writeRest sends what is queued, when nothing can be added any more.
func (c *connection) writeRest() {
	for n := len(c.queue.ready); n > 0; n-- {
		if c.writeChain(<-c.queue.ready) != nil {
			return
		}
	}
	// What cannot be written need not be.
	_ = c.writeBacklog(c.queue.remainder())
}

// writeFailed says how a connection ends that cannot be written to.
func writeFailed(err error) *ending {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return &ending{reason: wire.DisconnectSlow.Reason}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &ending{reason: modes.ReasonReset}
	}
	return &ending{reason: wire.DisconnectWriteError.Reason}
}

// farewell sends the close frame, and what is queued before it.
func (c *connection) farewell(e *ending) {
	if e.flush {
		c.writeRest()
	}
	c.drop(e.dropped())
	switch {
	case e.frame != nil && c.stream == nil:
	case e.flush || e.frame != nil:
		if c.stream != nil {
			c.farewellStream(e)
		}
		// The client has closed its side only.
		return
	default:
		c.socket.reset()
		return
	}
	err := c.ws.WriteControl(websocket.CloseMessage, e.frame.Payload(), time.Now().Add(modes.CloseWait))
	if err != nil {
		c.socket.reset()
		return
	}
	c.engine.stats.FramesOut.Add(1)
	c.engine.stats.BytesOut.Add(uint64(len(e.frame)))
	if e.linger {
		// The client sees the end behind the close frame; closing the socket
		// with bytes unread would be a reset, which may overtake both.
		_ = c.socket.CloseWrite()
	}
}

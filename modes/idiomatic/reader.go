package idiomatic

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// read is the connection's reader goroutine.
func (c *connection) read() {
	defer c.leave()
	e := endingOf(c.readMessages())
	if c.close(e) && e.linger {
		c.socket.discard()
	}
}

// readMessages handles what the client sends until it can send no more.
func (c *connection) readMessages() error {
	c.ws.SetPingHandler(func(data string) error {
		c.mu.Lock()
		c.reply(newMessage(wire.NewFrame(ws.OpPong, []byte(data)), false))
		c.flush()
		c.mu.Unlock()
		c.throttle()
		return nil
	})
	c.ws.SetPongHandler(func(string) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pinged = false
		return nil
	})
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		if err := c.readMessage(kind, r, c.socket.frames.next()); err != nil {
			return err
		}
	}
}

// buffers are what messages are read into; an idle connection holds none.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the capacity above which a buffer is not kept.
const maxPooled = 64 << 10

// readMessage reads one message and acts on it.
func (c *connection) readMessage(kind int, r io.Reader, compressed bool) error {
	buffer := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= maxPooled {
			buffer.Reset()
			buffers.Put(buffer)
		}
	}()
	if err := readAll(buffer, r, kind == websocket.TextMessage && !compressed); err != nil {
		return err
	}
	if compressed {
		if err := c.inflate(kind, buffer); err != nil {
			return err
		}
	}
	c.engine.stats.MessagesIn.Add(1)
	c.handle(kind, buffer.Bytes())
	c.throttle()
	return nil
}

// inflate replaces the compressed message in buffer by what it says.
func (c *connection) inflate(kind int, buffer *bytes.Buffer) error {
	compressed := len(buffer.Bytes())
	message, err := wire.Inflate(buffer.AvailableBuffer(), ws.OpCode(kind), buffer.Bytes(), c.engine.limits.MaxMessageSize)
	if err != nil {
		return &violation{wire.InflateEnd(err)}
	}
	// Writes what is in place already, if there was room for it.
	buffer.Write(message)
	buffer.Next(compressed)
	return nil
}

// readAll reads r into buffer. Text that is no UTF-8 ends it with the first byte
// that shows so.
func readAll(buffer *bytes.Buffer, r io.Reader, text bool) error {
	valid := 0
	for {
		buffer.Grow(bytes.MinRead)
		room := buffer.AvailableBuffer()
		n, err := r.Read(room[:cap(room)])
		// Writes what is in place already.
		buffer.Write(room[:n])
		if text {
			m, ok := validUTF8(buffer.Bytes()[valid:], err == io.EOF)
			if !ok {
				return errUTF8
			}
			valid += m
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// handle acts on one complete message; data is the reader's. A connection that
// is ending hears nothing more.
func (c *connection) handle(kind int, data []byte) {
	if c.ending.Load() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
	case c.protocol.Session():
		c.session.Handle(&c.engine.config.Rules, c.protocol, c, data)
	case c.protocol == wire.Echo:
		c.reply(newMessage(c.echo(ws.OpCode(kind), data), false))
	}
	c.flush()
}

// echo returns the frame that sends data back.
func (c *connection) echo(op ws.OpCode, data []byte) wire.Frame {
	if c.deflate {
		return wire.AppendDeflated(nil, op, data)
	}
	return wire.NewFrame(op, data)
}

// throttle holds the reader up while much is queued, so that a client that sends
// faster than it can be answered is slowed down instead of cut.
func (c *connection) throttle() {
	if !c.queue.crowded() {
		return
	}
	c.throttled.Store(true)
	c.queue.wait()
	c.throttled.Store(false)
	// It is not the client for whom a message that has begun has waited.
	c.socket.renewDeadline()
}

// endingOf says how a connection ends whose reader ended with err.
func endingOf(err error) *ending {
	var (
		v *violation
		f *closeFrame
	)
	switch {
	case errors.As(err, &v):
		e := goodbye(v.disconnect)
		e.linger = true
		return e
	case errors.As(err, &f):
		frame, d := wire.CloseReply(f.body)
		reason := d.Reason
		if d == wire.DisconnectNormal {
			reason = modes.ReasonClientClosed
		}
		// What the client sends behind its close frame must not make the end a reset,
		// which would take with it what the client has not read yet.
		return &ending{frame: frame, reason: reason, flush: true, linger: true}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		websocket.IsCloseError(err, websocket.CloseAbnormalClosure):
		return &ending{reason: modes.ReasonNoClose, flush: true}
	}
	return &ending{reason: modes.ReasonReset}
}

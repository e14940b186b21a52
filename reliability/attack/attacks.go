package attack

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/reliability/frame"
)

// slowHandshake sends one byte of the request a second; every other client sends
// nothing.
func slowHandshake(ctx context.Context, c *client) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = c.conn.Read(make([]byte, 1)) // an answer or the end of the connection
		_ = c.conn.Close()
	}()
	defer func() { _ = c.conn.Close(); <-ended }()
	request := []byte(frame.Request(c.options.Target, frame.Centrifuge))
	for i := range request {
		if c.number%2 == 0 {
			if err := c.write(request[i : i+1]); err != nil {
				return err
			}
			c.counts.sent.Add(1)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			return errEnded
		case <-time.After(time.Second):
		}
	}
	return nil
}

var errEnded = fmt.Errorf("attack: ended by the server")

// background reads in the background for a client that only sends. The returned
// function waits until it has ended.
func (c *client) background() (wait func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.drain()
	}()
	return func() { _ = c.conn.Close(); <-ended }
}

func oneByte(ctx context.Context, c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	defer c.background()()
	command := frame.Append(nil, frame.Text, bytes.Repeat([]byte(" "), 1000))
	for i := range command {
		if err := c.write(command[i : i+1]); err != nil {
			return err
		}
		c.counts.sent.Add(1)
		if !sleep(ctx, time.Second) {
			return nil
		}
	}
	return nil
}

// neverReading reads nothing after the handshake. The server must end it.
func neverReading(ctx context.Context, c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	if err := c.text(fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q}}`, c.options.Busy)); err != nil {
		return err
	}
	for sleep(ctx, time.Second) {
		// an empty pong: TCP then reports that the server has ended the connection
		if err := c.write(frame.Append(nil, frame.Pong, nil)); err != nil {
			return err
		}
	}
	return nil
}

// batch is how many commands are sent at once.
const batch = 50

func commands(ctx context.Context, c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	var text []byte
	for i := range batch {
		text = fmt.Appendf(text, "{\"id\":%d,\"publish\":{\"channel\":\"none\",\"data\":{}}}\n", i+2)
	}
	flood := frame.Append(nil, frame.Text, text)
	last := fmt.Appendf(nil, "\"id\":%d,", batch+1)
	var buf []byte
	for ctx.Err() == nil {
		if err := c.write(flood); err != nil {
			return err
		}
		c.counts.sent.Add(batch)
		for {
			var err error
			if buf, err = c.take(frame.Text, buf[:0]); err != nil {
				return err
			}
			if bytes.Contains(buf, last) {
				break
			}
		}
	}
	return nil
}

func fragments(ctx context.Context, c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	defer c.background()()
	const text, continuation = 0x01, 0x00 // without FIN
	op := byte(text)
	for i := 0; ; i++ {
		piece := []byte{op, 0x80, 0, 0, 0, 0}
		if i%2 == 0 {
			piece = []byte{op, 0x80 | 1, 0, 0, 0, 0, ' '}
		}
		if err := c.write(piece); err != nil {
			return err
		}
		c.counts.sent.Add(1)
		op = continuation
		if !sleep(ctx, 20*time.Millisecond) {
			return nil
		}
	}
}

func hugeLengths(ctx context.Context, c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	defer c.background()()
	if err := c.write(head(declared[c.number%len(declared)])); err != nil {
		return err
	}
	c.counts.sent.Add(1)
	for {
		// the bytes that it declared, at 16 KB a second
		if err := c.write(make([]byte, 16<<10)); err != nil {
			return err
		}
		if !sleep(ctx, time.Second) {
			return nil
		}
	}
}

func connects(_ context.Context, c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	_, err := c.take(frame.Text, nil)
	return err
}

func subscribes(ctx context.Context, c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	if _, err := c.take(frame.Text, nil); err != nil {
		return err
	}
	var buf []byte
	for i := 0; ctx.Err() == nil; i++ {
		channel := fmt.Sprintf("hostile-%d-%d", c.number, i)
		for _, command := range []string{`{"id":2,"subscribe":{"channel":%q}}`, `{"id":3,"unsubscribe":{"channel":%q}}`} {
			if err := c.text(fmt.Sprintf(command, channel)); err != nil {
				return err
			}
			c.counts.sent.Add(1)
			for {
				var err error
				if buf, err = c.take(frame.Text, buf[:0]); err != nil {
					return err
				}
				if bytes.Contains(buf, []byte(`"id":`)) {
					break
				}
			}
		}
	}
	return nil
}

func pings(ctx context.Context, c *client) error {
	if err := c.open(); err != nil {
		return err
	}
	flood := bytes.Repeat(frame.Append(nil, frame.Ping, bytes.Repeat([]byte("p"), 125)), batch)
	var buf []byte
	for ctx.Err() == nil {
		if err := c.write(flood); err != nil {
			return err
		}
		c.counts.sent.Add(batch)
		for range batch {
			var err error
			if buf, err = c.take(frame.Pong, buf[:0]); err != nil {
				return err
			}
		}
	}
	return nil
}

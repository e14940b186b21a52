package redisbus

import (
	"fmt"
)

// streamBuffer is how much is read from a Pub/Sub connection at a time.
const streamBuffer = 64 << 10

// receive calls handle with every reply on a Pub/Sub connection, whose bytes are
// valid during the call, and rest before each time that it waits for more, until
// the connection breaks or handle fails; it returns why. Another goroutine may
// write meanwhile. go-redis's own PubSub takes nine allocations and five times the
// CPU to read a message (BenchmarkReceive), and keeps a second list of what is
// subscribed, for reconnecting by itself, which the link does.
func (c *conn) receive(handle func(reply) error, rest func()) error {
	buffer := make([]byte, streamBuffer)
	begin, end := 0, copy(buffer, c.buffer[c.begin:])
	c.buffer = nil
	for {
		n, readErr := c.Read(buffer[end:])
		end += n
		for begin < end {
			r, length, err := parseReply(buffer[begin:end])
			if err != nil {
				return err
			}
			if length == 0 {
				break
			}
			begin += length
			if err := handle(r); err != nil {
				return err
			}
		}
		rest()
		if readErr != nil {
			return fmt.Errorf("read: %w", readErr)
		}
		switch {
		case begin == end && len(buffer) > streamBuffer:
			// A long message has been through.
			buffer = make([]byte, streamBuffer)
			begin, end = 0, 0
		case begin > 0:
			end = copy(buffer, buffer[begin:end])
			begin = 0
		case end == len(buffer):
			longer := make([]byte, 2*len(buffer))
			end = copy(longer, buffer)
			buffer = longer
		}
	}
}

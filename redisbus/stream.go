package redisbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// streamBuffer is how much a stream reads at a time.
const streamBuffer = 64 << 10

// stream is a Pub/Sub connection to Redis. go-redis logs in; from then on
// commands are written and replies are read here. go-redis's own PubSub takes nine
// allocations and five times the CPU to read a message (BenchmarkReceive), and
// keeps a second list of what is subscribed, for reconnecting by itself, which the
// link does.
//
// One goroutine writes, one receives; close may be called by any.
type stream struct {
	conn    net.Conn
	client  *redis.Client // has conn in its pool, and uses it no more
	timeout time.Duration // of a write
	request []byte        // room for a command
}

// openStream logs in on conn, which it closes on error.
func openStream(ctx context.Context, conn net.Conn, opts *redis.Options) (*stream, error) {
	own := *opts
	own.TLSConfig = nil // that is part of conn
	own.ReadBufferSize, own.WriteBufferSize = 4<<10, 4<<10
	taken := false
	own.Dialer = func(context.Context, string, string) (net.Conn, error) {
		if taken {
			return nil, errRedial
		}
		taken = true
		return conn, nil
	}
	s := &stream{conn: conn, client: redis.NewClient(&own), timeout: opts.WriteTimeout}
	err := s.client.Ping(ctx).Err()
	if err == nil {
		// go-redis leaves those that it has set.
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close ends the connection; receive returns.
func (s *stream) close() {
	// Errors of closing what is of no use any more.
	_ = s.conn.Close()
	_ = s.client.Close()
}

// send writes one command.
func (s *stream) send(name string, arguments ...string) error {
	s.request = appendCommand(s.request[:0], name, arguments...)
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(s.request)
	// TLS may have something to write of its own when it reads.
	return errors.Join(err, s.conn.SetWriteDeadline(time.Time{}))
}

// appendCommand appends a command as Redis wants it, an array of strings.
func appendCommand(dst []byte, name string, arguments ...string) []byte {
	dst = append(strconv.AppendInt(append(dst, '*'), int64(1+len(arguments)), 10), "\r\n"...)
	dst = appendBulk(dst, name)
	for _, argument := range arguments {
		dst = appendBulk(dst, argument)
	}
	return dst
}

func appendBulk(dst []byte, s string) []byte {
	dst = append(strconv.AppendInt(append(dst, '$'), int64(len(s)), 10), "\r\n"...)
	return append(append(dst, s...), "\r\n"...)
}

// receive calls handle with every reply, whose bytes are valid during the call,
// and rest before each time that it waits for more, until the connection breaks
// or handle fails; it returns why.
func (s *stream) receive(handle func(reply) error, rest func()) error {
	buffer := make([]byte, streamBuffer)
	begin, end := 0, 0
	for {
		n, readErr := s.conn.Read(buffer[end:])
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

package redisbus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"
)

// conn is a connection to a Redis server that has logged in. One goroutine at a
// time uses it; Close may be called by any.
type conn struct {
	net.Conn
	addr    string
	timeout time.Duration // of a write, and of a silence while an answer is awaited
	resp3   bool          // commands other than those of Pub/Sub may follow SUBSCRIBE
	role    bool          // the server answers ROLE

	request []byte // room for commands
	buffer  []byte // what is received
	begin   int    // where in buffer that begins which is not parsed
}

// step is one command of the login.
type step struct {
	command  []string
	optional bool              // it may be refused
	answered func(value) error // unless it is refused; may be nil
}

// use is what a connection is for.
type use uint8

const (
	forCommands use = iota
	forPubSub       // it receives publications
	forSentinel     // it leads to a sentinel, not to a master
)

// logIn sends everything that a new connection needs in one write, and returns
// the connection, or why it is of no use; then it is closed. A connection for
// Pub/Sub speaks RESP3 if the server does, so that it may ask for more than
// subscriptions.
func logIn(ctx context.Context, nc net.Conn, addr string, opts *redis.Options, use use) (*conn, error) {
	c := &conn{Conn: nc, addr: addr, timeout: opts.WriteTimeout}
	interrupted := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	err := c.greet(opts, use)
	if !interrupted() && err != nil {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = nc.Close()
		return nil, withoutSecrets(err, opts)
	}
	return c, nil
}

func (c *conn) greet(opts *redis.Options, use use) error {
	var steps []step
	switch {
	case opts.Username != "":
		steps = append(steps, step{command: []string{"AUTH", opts.Username, opts.Password}})
	case opts.Password != "":
		steps = append(steps, step{command: []string{"AUTH", opts.Password}})
	}
	if use == forPubSub {
		steps = append(steps, step{command: []string{"HELLO", "3"}, optional: true, answered: func(value) error {
			c.resp3 = true
			return nil
		}})
	}
	if opts.DB != 0 {
		steps = append(steps, step{command: []string{"SELECT", strconv.Itoa(opts.DB)}})
	}
	if opts.ClientName != "" {
		steps = append(steps, step{command: []string{"CLIENT", "SETNAME", opts.ClientName}})
	}
	if use != forSentinel {
		steps = append(steps, step{command: []string{"ROLE"}, optional: true, answered: func(v value) error {
			c.role = true
			return notMaster(c.addr, v)
		}})
	}
	steps = append(steps, step{command: []string{"PING"}})
	c.request = c.request[:0]
	for _, s := range steps {
		c.request = appendCommand(c.request, s.command[0], s.command[1:]...)
	}
	if err := c.flush(); err != nil {
		return err
	}
	// What Redis says before it closes the connection is the reason.
	var refused error
	for _, s := range steps {
		v, err := c.read()
		switch {
		case err != nil && refused != nil:
			return refused
		case err != nil:
			return err
		}
		switch err = v.err(); {
		case err == nil && s.answered != nil:
			if err = s.answered(v); err != nil {
				return err
			}
		case err == nil:
		case s.optional:
			refused = err
		case s.command[0] == "AUTH" && strings.Contains(err.Error(), "without any password configured"):
			// The server needs no password.
		default:
			return err
		}
	}
	return nil
}

// notMaster is nil if v is a master's answer to ROLE.
func notMaster(addr string, v value) error {
	switch role := string(v.item(0).text); role {
	case "master":
		return nil
	case "slave":
		return fmt.Errorf("%w: %s is a replica of %s", errNotMaster, addr,
			net.JoinHostPort(string(v.item(1).text), string(v.item(2).text)))
	default:
		return fmt.Errorf("%w: %s is a %s", errNotMaster, addr, role)
	}
}

// withoutSecrets is err without the user's password: a server that does not know
// a command repeats its arguments.
func withoutSecrets(err error, opts *redis.Options) error {
	text := err.Error()
	if opts.Password == "" || !strings.Contains(text, opts.Password) {
		return err
	}
	return errors.New(strings.ReplaceAll(text, opts.Password, "***"))
}

// Close closes the connection without a word: TLS would wait to say goodbye.
func (c *conn) Close() error {
	if secured, ok := c.Conn.(*tls.Conn); ok {
		return secured.NetConn().Close()
	}
	return c.Conn.Close()
}

// command adds a command to the next flush.
func (c *conn) command(name string, arguments ...string) {
	c.request = appendCommand(c.request, name, arguments...)
}

// publish adds a PUBLISH to the next flush.
func (c *conn) publish(channel string, data []byte) {
	c.request = append(c.request, "*3\r\n"...)
	c.request = appendBulk(c.request, "PUBLISH")
	c.request = appendBulk(c.request, channel)
	c.request = appendBulk(c.request, data)
}

// stale reports whether there is something to read on a connection that waits for
// no answer: its end, as a rule.
func (c *conn) stale() bool {
	nc := c.Conn
	if secured, ok := nc.(*tls.Conn); ok {
		nc = secured.NetConn()
	}
	socket, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	stale := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		stale = n > 0 || err == nil || !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
		return true
	})
	return stale || err != nil
}

// flush writes the commands that have been added.
func (c *conn) flush() error {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	_, err := c.Write(c.request)
	if cap(c.request) > maxRequestKept {
		c.request = nil
	}
	c.request = c.request[:0]
	if err != nil {
		return err
	}
	// TLS may have something to write of its own when it reads.
	return c.SetWriteDeadline(time.Time{})
}

// maxRequestKept is how much room for commands a connection keeps.
const maxRequestKept = 64 << 10

// read returns the next answer, whose bytes are valid until the next read. No
// byte for timeout is an error.
func (c *conn) read() (value, error) {
	for {
		v, length, err := parseValue(c.buffer[c.begin:])
		if err != nil {
			return value{}, err
		}
		if length > 0 {
			c.begin += length
			return v, nil
		}
		if c.begin > 0 {
			c.buffer = append(c.buffer[:0], c.buffer[c.begin:]...)
			c.begin = 0
		}
		if cap(c.buffer)-len(c.buffer) < 512 {
			c.buffer = append(make([]byte, 0, max(4<<10, 2*cap(c.buffer))), c.buffer...)
		}
		if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
			return value{}, err
		}
		n, err := c.Read(c.buffer[len(c.buffer):cap(c.buffer)])
		c.buffer = c.buffer[:len(c.buffer)+n]
		if err != nil && n == 0 {
			return value{}, fmt.Errorf("read: %w", err)
		}
	}
}

// do sends one command and returns its answer.
func (c *conn) do(name string, arguments ...string) (value, error) {
	c.command(name, arguments...)
	if err := c.flush(); err != nil {
		return value{}, fmt.Errorf("write: %w", err)
	}
	v, err := c.read()
	if err != nil {
		return value{}, err
	}
	return v, v.err()
}

// appendCommand appends a command as Redis wants it, an array of strings.
func appendCommand[T string | []byte](dst []byte, name string, arguments ...T) []byte {
	dst = append(strconv.AppendInt(append(dst, '*'), int64(1+len(arguments)), 10), "\r\n"...)
	dst = appendBulk(dst, name)
	for _, argument := range arguments {
		dst = appendBulk(dst, argument)
	}
	return dst
}

func appendBulk[T string | []byte](dst []byte, s T) []byte {
	dst = append(strconv.AppendInt(append(dst, '$'), int64(len(s)), 10), "\r\n"...)
	return append(append(dst, s...), "\r\n"...)
}

// Package hostile has clients that do what no client should: each kind of them
// tries to make a server spend what it has on it. They come back at once, or
// nearly so, whenever the server ends them. They run in a process of their own
// (compare hostile), so that what they cost themselves is not measured.
package hostile

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tandem-ws/tandem/compare/frame"
)

// ErrKind says that there is no such kind.
var ErrKind = errors.New("hostile: unknown kind")

// kind is one way to be hostile. attack is run again and again, with a new
// connection each time, until ctx ends.
type kind struct {
	name, about string
	flood       bool // it takes all the CPU that it gets
	attack      func(ctx context.Context, c *client) error
}

// NeverReading is the kind whose clients read nothing.
const NeverReading = "never-reading"

var kinds = []kind{
	{"slow-handshakes", "a byte of the request a second, or none at all", false, slowHandshake},
	{"one-byte", "a byte of a command a second", false, oneByte},
	{NeverReading, "subscribed to a busy channel, and reading nothing", false, neverReading},
	{"commands", "commands as fast as they are answered", true, commands},
	{"fragments", "a message of fragments without end, empty ones among them", false, fragments},
	{"huge-lengths", "frames that declare up to 2^63-1 bytes", false, hugeLengths},
	{"connects", "connections that end as soon as they are made", true, connects},
	{"subscribes", "subscriptions to channels of their own, and their end", true, subscribes},
	{"pings", "pings of 125 bytes as fast as they are answered", true, pings},
}

// Kinds are the names of all kinds.
func Kinds() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// About says what clients of a kind do.
func About(name string) string {
	for _, k := range kinds {
		if k.name == name {
			return k.about
		}
	}
	return ""
}

// Flood tells whether clients of a kind take all the CPU that they get.
func Flood(name string) bool {
	return slices.ContainsFunc(kinds, func(k kind) bool { return k.name == name && k.flood })
}

// Options say who attacks what.
type Options struct {
	Target string   // host:port
	Kinds  []string // names; empty: all
	N      int      // connections of each kind
	// Busy is the channel that never-reading subscribes to.
	Busy string
	// From is the first source address, Sources how many follow it.
	From    string
	Sources int
}

// Report is what they did.
type Report struct {
	// Connections were made, Refused failed or were answered with anything but
	// 101, Ended were ended by the server. Sent counts commands, frames and
	// pings.
	Connections, Refused, Ended, Sent int64
}

// account is a Report that many goroutines write to.
type account struct {
	connections, refused, ended, sent atomic.Int64
}

// Run attacks until ctx ends, and returns what was done.
func Run(ctx context.Context, o Options) (Report, error) {
	if len(o.Kinds) == 0 {
		o.Kinds = Kinds()
	}
	var chosen []kind
	for _, name := range o.Kinds {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		if i < 0 {
			return Report{}, fmt.Errorf("%w %q: choose from %s", ErrKind, name, strings.Join(Kinds(), ", "))
		}
		chosen = append(chosen, kinds[i])
	}
	var a account
	var running sync.WaitGroup
	for i := range o.N {
		for j, k := range chosen {
			running.Go(func() {
				// one of each kind now, the others not all in the same millisecond
				if i > 0 {
					sleep(ctx, rand.N(time.Second))
				}
				for ctx.Err() == nil {
					c := &client{options: &o, account: &a, number: i*len(chosen) + j}
					c.run(ctx, k)
				}
			})
		}
	}
	running.Wait()
	return Report{
		Connections: a.connections.Load(), Refused: a.refused.Load(), Ended: a.ended.Load(), Sent: a.sent.Load(),
	}, nil
}

// client is one connection of one hostile client.
type client struct {
	options *Options
	account *account
	number  int
	conn    net.Conn
	in      *bufio.Reader
}

const (
	dialLimit = 15 * time.Second
	// comeBack is how long a client that was ended waits: it is hostile, but a
	// loop that spins measures itself only.
	comeBack = 100 * time.Millisecond
)

// run is one connection, and the pause after it.
func (c *client) run(ctx context.Context, k kind) {
	err := c.dial(ctx, k.name == NeverReading)
	if err != nil {
		if ctx.Err() == nil {
			c.account.refused.Add(1)
		}
		sleep(ctx, comeBack)
		return
	}
	c.account.connections.Add(1)
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	defer stop()
	err = k.attack(ctx, c)
	_ = c.conn.Close() // it has ended, or is to
	var status frame.Refused
	switch {
	case ctx.Err() != nil:
	case errors.As(err, &status):
		c.account.refused.Add(1)
	case err != nil:
		c.account.ended.Add(1)
	}
	sleep(ctx, comeBack)
}

// dial connects; narrow gives the connection the smallest receive buffer.
func (c *client) dial(ctx context.Context, narrow bool) error {
	dialer := net.Dialer{Timeout: dialLimit, KeepAlive: -1}
	if from := net.ParseIP(c.options.From).To4(); from != nil {
		from[3] += byte(c.number % max(c.options.Sources, 1))
		dialer.LocalAddr = &net.TCPAddr{IP: from}
	}
	if narrow {
		dialer.Control = func(_, _ string, raw syscall.RawConn) error {
			var failed error
			err := raw.Control(func(fd uintptr) {
				failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1)
			})
			return errors.Join(err, failed)
		}
	}
	conn, err := dialer.DialContext(ctx, "tcp", c.options.Target)
	c.conn = conn
	return err
}

// open makes the handshake and sends the connect command.
func (c *client) open() error {
	if err := c.conn.SetDeadline(time.Now().Add(dialLimit)); err != nil {
		return err
	}
	in, _, err := frame.Upgrade(c.conn, c.options.Target, frame.Centrifuge, 1<<10)
	if err != nil {
		return err
	}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c.in = in
	return c.text(`{"id":1,"connect":{}}`)
}

func (c *client) text(s string) error { return c.write(frame.Append(nil, frame.Text, []byte(s))) }

func (c *client) write(b []byte) error {
	_, err := c.conn.Write(b)
	return err
}

// take reads frames until one is of this kind. It answers nothing.
func (c *client) take(wanted byte, buf []byte) ([]byte, error) {
	for {
		op, body, err := frame.Read(c.in, buf)
		if err != nil {
			return body, err
		}
		if op == frame.Close {
			return body, io.EOF
		}
		if op == wanted {
			return body, nil
		}
		buf = body
	}
}

// drain reads until the end of the connection; it is what tells a client that
// only sends that it has been ended.
func (c *client) drain() {
	var buf []byte
	for {
		_, body, err := frame.Read(c.in, buf)
		if err != nil {
			_ = c.conn.Close()
			return
		}
		buf = body
	}
}

// sleep sleeps for d or until ctx ends; false: it has.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// declared are lengths that a frame may claim to have.
var declared = []uint64{1<<63 - 1, 1 << 40, 1 << 31, 64<<20 + 1}

// head is a masked text frame's head that declares length bytes.
func head(length uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{0x80 | frame.Text, 0x80 | 127}, length)
	return append(b, 0, 0, 0, 0)
}

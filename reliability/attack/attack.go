// Package attack runs hostile clients: each kind makes the server waste some resource.
// They reconnect almost at once when the server ends their connection. They run in a
// process of their own (reliability attack), so that their own cost is not measured.
package attack

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

	"github.com/tandem-ws/tandem/reliability/frame"
)

// ErrOptions means that the options cannot be used.
var ErrOptions = errors.New("attack: bad options")

// kind is a kind of attack. attack is called again and again, each time with a new
// connection, until ctx ends.
type kind struct {
	name, about string
	flood       bool // it uses all the CPU that it gets
	attack      func(ctx context.Context, c *client) error
}

// NeverReading is the kind that reads nothing.
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

// Kinds returns the names of all kinds.
func Kinds() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// About describes a kind.
func About(name string) string {
	for _, k := range kinds {
		if k.name == name {
			return k.about
		}
	}
	return ""
}

// Flood reports whether clients of a kind use all the CPU that they get.
func Flood(name string) bool {
	return slices.ContainsFunc(kinds, func(k kind) bool { return k.name == name && k.flood })
}

// Options configure an attack.
type Options struct {
	Target string   // host:port
	Kinds  []string // names; empty: all
	N      int      // connections of each kind
	// Busy is the channel that NeverReading subscribes to.
	Busy string
	// From is the first source address, and Sources is how many follow it.
	From    string
	Sources int
}

// Report is what the hostile clients did.
type Report struct {
	// Connections counts connections; Refused those that failed or were not answered
	// with 101; Ended those that the server ended; Sent commands, frames and pings.
	Connections, Refused, Ended, Sent int64
}

// counts is a Report that several goroutines write to.
type counts struct {
	connections, refused, ended, sent atomic.Int64
}

// Run attacks until ctx ends.
func Run(ctx context.Context, o Options) (Report, error) {
	if len(o.Kinds) == 0 {
		o.Kinds = Kinds()
	}
	var chosen []kind
	for _, name := range o.Kinds {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		if i < 0 {
			return Report{}, fmt.Errorf("%w: unknown kind %q: choose from %s", ErrOptions, name, strings.Join(Kinds(), ", "))
		}
		chosen = append(chosen, kinds[i])
	}
	var a counts
	var running sync.WaitGroup
	for i := range o.N {
		for j, k := range chosen {
			running.Go(func() {
				// one of each kind at once, the others spread over a second
				if i > 0 {
					sleep(ctx, rand.N(time.Second))
				}
				for ctx.Err() == nil {
					c := &client{options: &o, counts: &a, number: i*len(chosen) + j}
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

// client is one connection of a hostile client.
type client struct {
	options *Options
	counts  *counts
	number  int
	conn    net.Conn
	in      *bufio.Reader
}

const (
	dialLimit = 15 * time.Second
	// comeBack is the delay before a client reconnects. Without it, the client would
	// measure its own loop.
	comeBack = 100 * time.Millisecond
)

// run handles one connection, and the delay after it.
func (c *client) run(ctx context.Context, k kind) {
	err := c.dial(ctx, k.name == NeverReading)
	if err != nil {
		if ctx.Err() == nil {
			c.counts.refused.Add(1)
		}
		sleep(ctx, comeBack)
		return
	}
	c.counts.connections.Add(1)
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	defer stop()
	err = k.attack(ctx, c)
	_ = c.conn.Close() // it has ended or must end
	var status frame.Refused
	switch {
	case ctx.Err() != nil:
	case errors.As(err, &status):
		c.counts.refused.Add(1)
	case err != nil:
		c.counts.ended.Add(1)
	}
	sleep(ctx, comeBack)
}

// dial connects. If narrow is set, the connection gets the smallest possible receive
// buffer.
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

// open performs the handshake and sends the connect command.
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

// take reads frames until one has the wanted opcode. It does not answer any.
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

// drain reads until the connection ends, so that a client that only sends notices
// that.
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

// sleep sleeps for d and returns true, or returns false as soon as ctx ends.
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

// declared are lengths that frames claim to have.
var declared = []uint64{1<<63 - 1, 1 << 40, 1 << 31, 64<<20 + 1}

// head returns the header of a masked text frame that declares length bytes.
func head(length uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{0x80 | frame.Text, 0x80 | 127}, length)
	return append(b, 0, 0, 0, 0)
}

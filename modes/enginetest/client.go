package enginetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// client is one end of a TCP connection to the node, with full control over
// what is sent. One goroutine reads and one writes at a time.
type client struct {
	t        tester
	conn     stream
	tcp      *net.TCPConn // under conn
	in       *bufio.Reader
	protocol wire.Protocol
	// chopped sends every byte on its own.
	chopped bool
	// mute leaves pings unanswered.
	mute bool
	// deflate has the handshake offer permessage-deflate, to a node that must
	// accept it.
	deflate bool
	// window is whether the offer limited the server's window, to the largest.
	window bool
	// deflateCommands compresses the commands of a session.
	deflateCommands bool

	body   *bufio.Reader // of a stream over HTTP
	lastID uint32
	came   []*protocol.Reply // read and not yet taken by next
	pings  int               // pings of the Centrifuge protocol seen
}

// dial connects to the node and sends nothing. The connection is closed with
// the test.
func (n *node) dial(t tester) *client {
	t.Helper()
	return n.dialWith(t, &net.Dialer{})
}

// dialNarrow is dial with a receive buffer as small as the kernel allows, for
// clients that are to be slow.
func (n *node) dialNarrow(t tester) *client {
	t.Helper()
	return n.dialWith(t, &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = errors.Join(
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1),
				// Segments that fit its window: for those of loopback's size the
				// kernel waits with a timer that doubles, for seconds.
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536))
		})
		return errors.Join(err, failed)
	}})
}

// dialWith is dial with a dialer of the case.
func (n *node) dialWith(t tester, d *net.Dialer) *client {
	t.Helper()
	c, err := n.tryDialWith(t, d)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	return c
}

// tryDial is dial for a node that may refuse.
func (n *node) tryDial(t tester) (*client, error) {
	return n.tryDialWith(t, &net.Dialer{})
}

func (n *node) tryDialWith(t tester, d *net.Dialer) (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", n.addr)
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	c := &client{t: t, conn: tcp, tcp: tcp}
	if n.secure {
		c.conn = secureStream(tcp)
	}
	c.in = bufio.NewReader(c.conn)
	t.Cleanup(func() { _ = tcp.Close() })
	return c, nil
}

// write sends bytes as they are.
func (c *client) write(b []byte) {
	c.t.Helper()
	if err := c.tryWrite(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// tryWrite is write for a connection that the server may have closed.
func (c *client) tryWrite(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	step := len(b)
	if c.chopped {
		step = 1
	}
	for len(b) > 0 {
		step = min(step, len(b))
		if _, err := c.conn.Write(b[:step]); err != nil {
			return err
		}
		b = b[step:]
	}
	return nil
}

// send sends the frames in one segment.
func (c *client) send(frames ...frame) {
	c.t.Helper()
	c.write(encode(frames...))
}

// frame reads the next frame, whatever it is.
func (c *client) frame() frame {
	c.t.Helper()
	f, err := c.tryFrame()
	if err != nil {
		c.t.Fatalf("read frame: %v", err)
	}
	return f
}

// tryFrame is frame for a connection that may have ended.
func (c *client) tryFrame() (frame, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return frame{}, err
	}
	if !c.deflate {
		return readFrame(c.in, 0)
	}
	f, err := readFrame(c.in, rsv1)
	if err == nil && f.rsv == rsv1 {
		err = f.inflate()
	}
	return f, err
}

// expect reads the next frame, which must be want.
func (c *client) expect(want frame) {
	c.t.Helper()
	got := c.frame()
	if got.op != want.op || got.more != want.more || !bytes.Equal(got.body, want.body) {
		c.t.Fatalf("got frame op %#x more %t %s, want op %#x more %t %s",
			got.op, got.more, brief(got.body), want.op, want.more, brief(want.body))
	}
}

// brief is b in an error message.
func brief(b []byte) string {
	const most = 100
	cut := ""
	if len(b) > most {
		b, cut = b[:most], "…"
	}
	if utf8.Valid(b) {
		return "\"" + string(b) + cut + "\""
	}
	return "bytes " + string(bytes.ToValidUTF8(b, []byte("?"))) + cut
}

// message reads the next data message and answers RFC 6455 pings on the way.
func (c *client) message() frame {
	c.t.Helper()
	for {
		f := c.frame()
		switch f.op {
		case ws.OpText, ws.OpBinary:
			if f.more {
				c.t.Fatalf("the server fragments its messages")
			}
			return f
		case ws.OpPing:
			if !c.mute {
				c.send(frame{op: ws.OpPong, body: f.body})
			}
		case ws.OpPong:
		default:
			c.t.Fatalf("got frame op %#x %s, want a message", f.op, closeText(f))
		}
	}
}

// closeText describes a close frame.
func closeText(f frame) string {
	if f.op != ws.OpClose || len(f.body) < 2 {
		return brief(f.body)
	}
	return brief(append([]byte(nil), f.body[2:]...)) + " code " + strconv.Itoa(closeCode(f))
}

// closeCode is the code of a close frame, 1005 for none (RFC 6455 section 7.1.5).
func closeCode(f frame) int {
	if len(f.body) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(f.body))
}

// expectClose reads the next frame, which must be a close frame with this code,
// answers it, and waits for the end of the connection.
func (c *client) expectClose(code int) {
	c.t.Helper()
	c.finish(code, c.frame())
}

// expectCloseLater is expectClose for a connection on which messages may come first. It returns
// them.
func (c *client) expectCloseLater(code int) []frame {
	c.t.Helper()
	messages, err := c.closeLater(code)
	if err != nil {
		c.t.Fatalf("read frame: %v", err)
	}
	return messages
}

// closeLater is expectCloseLater for a connection that may be reset. The error is
// that of reading.
func (c *client) closeLater(code int) (messages []frame, err error) {
	c.t.Helper()
	for {
		f, err := c.tryFrame()
		if err != nil {
			return nil, err
		}
		if !f.op.IsData() {
			c.finish(code, f)
			return messages, nil
		}
		messages = append(messages, f)
	}
}

// finish checks that f is a close frame with this code, answers it, and waits for
// the end of the connection.
func (c *client) finish(code int, f frame) {
	c.t.Helper()
	if f.op != ws.OpClose || closeCode(f) != code {
		c.t.Fatalf("got frame op %#x %s, want close code %d", f.op, closeText(f), code)
	}
	// The server may have sent its close frame while more was on its way to
	// it, and be gone by now.
	_ = c.tryWrite(encode(frame{op: ws.OpClose, body: f.body[:min(2, len(f.body))]}))
	c.expectEnd()
}

// expectEnd waits until the server has ended the TCP connection; nothing may
// come before.
func (c *client) expectEnd() {
	c.t.Helper()
	b, err := c.readByte()
	if err == nil {
		c.t.Fatalf("got byte %#x, want the end of the connection", b)
	}
	if !ended(err) {
		c.t.Fatalf("the connection did not end: %v", err)
	}
}

// expectCleanEnd is expectEnd, but does not accept a reset.
func (c *client) expectCleanEnd() {
	c.t.Helper()
	if b, err := c.readByte(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("got byte %#x, error %v, want the end of the connection", b, err)
	}
}

// expectSilence fails if anything has come that was not read. It proves nothing
// by itself: the case first waits for something that comes later.
func (c *client) expectSilence() {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		c.t.Fatalf("set deadline: %v", err)
	}
	if b, err := c.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("got bytes %x, error %v, want silence", b, err)
	}
}

// readByte reads whatever comes next.
func (c *client) readByte() (byte, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return c.in.ReadByte()
}

// ended reports whether err means that the other side ended the connection.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// leave closes the TCP connection without a word.
func (c *client) leave() { _ = c.conn.Close() }

// reset ends the TCP connection with a reset.
func (c *client) reset() {
	c.t.Helper()
	if err := c.tcp.SetLinger(0); err != nil {
		c.t.Fatalf("set linger: %v", err)
	}
	_ = c.tcp.Close()
}

// roundTripPing shows that the connection is served, by RFC 6455's ping.
func (c *client) roundTripPing() {
	c.t.Helper()
	c.send(frame{op: ws.OpPing, body: []byte("round trip")})
	c.expect(frame{op: ws.OpPong, body: []byte("round trip")})
}

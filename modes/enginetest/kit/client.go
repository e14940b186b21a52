package kit

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

// Client is one end of a TCP connection to the node, with full control over
// what is sent. One goroutine reads and one writes at a time.
type Client struct {
	T        Tester
	Conn     Conn
	TCP      *net.TCPConn // under conn
	In       *bufio.Reader
	Protocol wire.Protocol
	// Chopped sends every byte on its own.
	Chopped bool
	// Mute leaves pings unanswered.
	Mute bool
	// Deflate has the handshake offer permessage-deflate, to a node that must
	// accept it.
	Deflate bool
	// Window is whether the offer limited the server's window, to the largest.
	Window bool
	// DeflateCommands compresses the commands of a session.
	DeflateCommands bool

	Body   *bufio.Reader // of a stream over HTTP
	LastID uint32
	came   []*protocol.Reply // read and not yet taken by next
	Pings  int               // pings of the Centrifuge protocol seen
}

// Dial connects to the node and sends nothing. The connection is closed with
// the test.
func (n *Node) Dial(t Tester) *Client {
	t.Helper()
	return n.DialWith(t, &net.Dialer{})
}

// DialNarrow is Dial with a receive buffer as small as the kernel allows, for
// clients that are to be slow.
func (n *Node) DialNarrow(t Tester) *Client {
	t.Helper()
	return n.DialWith(t, &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
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

// DialWith is Dial with a dialer of the case.
func (n *Node) DialWith(t Tester, d *net.Dialer) *Client {
	t.Helper()
	c, err := n.tryDialWith(t, d)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	return c
}

// TryDial is Dial for a node that may refuse.
func (n *Node) TryDial(t Tester) (*Client, error) {
	return n.tryDialWith(t, &net.Dialer{})
}

func (n *Node) tryDialWith(t Tester, d *net.Dialer) (*Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", n.addr)
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	c := &Client{T: t, Conn: tcp, TCP: tcp}
	if n.Secure {
		c.Conn = secureStream(tcp)
	}
	c.In = bufio.NewReader(c.Conn)
	t.Cleanup(func() { _ = tcp.Close() })
	return c, nil
}

// Write sends bytes as they are.
func (c *Client) Write(b []byte) {
	c.T.Helper()
	if err := c.TryWrite(b); err != nil {
		c.T.Fatalf("write: %v", err)
	}
}

// TryWrite is Write for a connection that the server may have closed.
func (c *Client) TryWrite(b []byte) error {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(Patience)); err != nil {
		return err
	}
	step := len(b)
	if c.Chopped {
		step = 1
	}
	for len(b) > 0 {
		step = min(step, len(b))
		if _, err := c.Conn.Write(b[:step]); err != nil {
			return err
		}
		b = b[step:]
	}
	return nil
}

// Send sends the frames in one segment.
func (c *Client) Send(frames ...Frame) {
	c.T.Helper()
	c.Write(Encode(frames...))
}

// Frame reads the next frame, whatever it is.
func (c *Client) Frame() Frame {
	c.T.Helper()
	f, err := c.TryFrame()
	if err != nil {
		c.T.Fatalf("read frame: %v", err)
	}
	return f
}

// TryFrame is Frame for a connection that may have ended.
func (c *Client) TryFrame() (Frame, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return Frame{}, err
	}
	if !c.Deflate {
		return readFrame(c.In, 0)
	}
	f, err := readFrame(c.In, Rsv1)
	if err == nil && f.Rsv == Rsv1 {
		err = f.inflate()
	}
	return f, err
}

// Expect reads the next frame, which must be want.
func (c *Client) Expect(want Frame) {
	c.T.Helper()
	got := c.Frame()
	if got.Op != want.Op || got.More != want.More || !bytes.Equal(got.Body, want.Body) {
		c.T.Fatalf("got frame op %#x more %t %s, want op %#x more %t %s",
			got.Op, got.More, Brief(got.Body), want.Op, want.More, Brief(want.Body))
	}
}

// Brief is b in an error message.
func Brief(b []byte) string {
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

// Message reads the next data message and answers RFC 6455 pings on the way.
func (c *Client) Message() Frame {
	c.T.Helper()
	for {
		f := c.Frame()
		switch f.Op {
		case ws.OpText, ws.OpBinary:
			if f.More {
				c.T.Fatalf("the server fragments its messages")
			}
			return f
		case ws.OpPing:
			if !c.Mute {
				c.Send(Frame{Op: ws.OpPong, Body: f.Body})
			}
		case ws.OpPong:
		default:
			c.T.Fatalf("got frame op %#x %s, want a message", f.Op, CloseText(f))
		}
	}
}

// CloseText describes a close frame.
func CloseText(f Frame) string {
	if f.Op != ws.OpClose || len(f.Body) < 2 {
		return Brief(f.Body)
	}
	return Brief(append([]byte(nil), f.Body[2:]...)) + " code " + strconv.Itoa(CloseCode(f))
}

// CloseCode is the code of a close frame, 1005 for none (RFC 6455 section 7.1.5).
func CloseCode(f Frame) int {
	if len(f.Body) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(f.Body))
}

// ExpectClose reads the next frame, which must be a close frame with this code,
// answers it, and waits for the end of the connection.
func (c *Client) ExpectClose(code int) {
	c.T.Helper()
	c.Finish(code, c.Frame())
}

// ExpectCloseLater is ExpectClose for a connection on which messages may come first. It returns
// them.
func (c *Client) ExpectCloseLater(code int) []Frame {
	c.T.Helper()
	messages, err := c.CloseLater(code)
	if err != nil {
		c.T.Fatalf("read frame: %v", err)
	}
	return messages
}

// CloseLater is ExpectCloseLater for a connection that may be reset. The error is
// that of reading.
func (c *Client) CloseLater(code int) (messages []Frame, err error) {
	c.T.Helper()
	for {
		f, err := c.TryFrame()
		if err != nil {
			return nil, err
		}
		if !f.Op.IsData() {
			c.Finish(code, f)
			return messages, nil
		}
		messages = append(messages, f)
	}
}

// Finish checks that f is a close frame with this code, answers it, and waits for
// the end of the connection.
func (c *Client) Finish(code int, f Frame) {
	c.T.Helper()
	if f.Op != ws.OpClose || CloseCode(f) != code {
		c.T.Fatalf("got frame op %#x %s, want close code %d", f.Op, CloseText(f), code)
	}
	// The server may have sent its close frame while more was on its way to
	// it, and be gone by now.
	_ = c.TryWrite(Encode(Frame{Op: ws.OpClose, Body: f.Body[:min(2, len(f.Body))]}))
	c.ExpectEnd()
}

// ExpectEnd waits until the server has ended the TCP connection; nothing may
// come before.
func (c *Client) ExpectEnd() {
	c.T.Helper()
	b, err := c.ReadByte()
	if err == nil {
		c.T.Fatalf("got byte %#x, want the end of the connection", b)
	}
	if !Ended(err) {
		c.T.Fatalf("the connection did not end: %v", err)
	}
}

// ExpectCleanEnd is ExpectEnd, but does not accept a reset.
func (c *Client) ExpectCleanEnd() {
	c.T.Helper()
	if b, err := c.ReadByte(); !errors.Is(err, io.EOF) {
		c.T.Fatalf("got byte %#x, error %v, want the end of the connection", b, err)
	}
}

// ExpectSilence fails if anything has come that was not read. It proves nothing
// by itself: the case first waits for something that comes later.
func (c *Client) ExpectSilence() {
	c.T.Helper()
	if err := c.Conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		c.T.Fatalf("set deadline: %v", err)
	}
	if b, err := c.In.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.T.Fatalf("got bytes %x, error %v, want silence", b, err)
	}
}

// ReadByte reads whatever comes next.
func (c *Client) ReadByte() (byte, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return 0, err
	}
	return c.In.ReadByte()
}

// Ended reports whether err means that the other side ended the connection.
func Ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Leave closes the TCP connection without a word.
func (c *Client) Leave() { _ = c.Conn.Close() }

// Reset ends the TCP connection with a reset.
func (c *Client) Reset() {
	c.T.Helper()
	if err := c.TCP.SetLinger(0); err != nil {
		c.T.Fatalf("set linger: %v", err)
	}
	_ = c.TCP.Close()
}

// RoundTripPing shows that the connection is served, by RFC 6455's ping.
func (c *Client) RoundTripPing() {
	c.T.Helper()
	c.Send(Frame{Op: ws.OpPing, Body: []byte("round trip")})
	c.Expect(Frame{Op: ws.OpPong, Body: []byte("round trip")})
}

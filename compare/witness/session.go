package witness

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/compare/frame"
	"github.com/tandem-ws/tandem/compare/payload"
)

// session is one connection of a witness, from the answer to its request to its
// end.
type session struct {
	client *client
	conn   *opened
	away   time.Time // since when the witness has been away
	ping   time.Duration

	connected bool // the server has taken it
	back      bool // all channels have been subscribed
	local     bool // the crew ended it
	final     bool // the server forbade to come back
}

// closed is the code that the server ended a connection with.
type closed int

// Error names the code.
func (c closed) Error() string { return strconv.Itoa(int(c)) }

// codeExpired says that a token has run out.
const codeExpired closed = 3005

// serve speaks for the witness until the connection ends, and returns why it
// did.
func (m *client) serve(conn *opened, away time.Time) (session, error) {
	s := session{client: m, conn: conn, away: away}
	defer func() { _ = conn.Close() }() // it has ended
	var err error
	if m.attach(conn.Conn) {
		switch {
		case m.kind.Protocol.session():
			if err = s.connect(); err == nil {
				err = s.frames()
			}
		case m.kind.Protocol.overHTTP():
			s.joined()
			err = s.lines()
		default:
			s.joined()
			err = s.frames()
		}
	}
	s.local = m.detach()
	return s, err
}

// joined notes that the server has subscribed the witness to all of its channels
// with its answer to the request.
func (s *session) joined() {
	s.connected = true
	s.client.joinAll()
	s.returned(time.Now())
}

// returned notes that all channels are subscribed.
func (s *session) returned(now time.Time) {
	if !s.back {
		s.back = true
		s.client.crew.account.back.record(now.Sub(s.away))
	}
}

// frames reads WebSocket frames.
func (s *session) frames() error {
	var buf []byte
	for {
		if s.ping > 0 {
			if err := s.conn.SetReadDeadline(time.Now().Add(s.ping + pingGrace)); err != nil {
				return err
			}
		}
		op, body, err := s.read(buf)
		if err != nil {
			return err
		}
		buf = body
		switch {
		case op == frame.Ping:
			_, err = s.conn.Write(frame.Append(nil, frame.Pong, body))
		case op == frame.Close:
			return s.farewell(body)
		case op != frame.Text && op != frame.Binary:
			s.broken("frame with opcode " + strconv.Itoa(int(op)))
		case s.client.kind.Protocol.session():
			err = s.message(op, body, time.Now())
		case op != frame.Text:
			s.broken("binary frame of what was published as text")
		default:
			s.payload(body, time.Now())
		}
		if err != nil {
			return err
		}
	}
}

// read reads a frame, compressed or not.
func (s *session) read(buf []byte) (op byte, body []byte, err error) {
	if !s.client.kind.Deflate {
		return frame.Read(s.conn.in, buf)
	}
	op, body, compressed, err := frame.ReadDeflate(s.conn.in, buf)
	if compressed && err == nil {
		s.client.crew.account.deflated.Add(1)
	}
	return op, body, err
}

// payload takes in a message that has nothing around it.
func (s *session) payload(body []byte, now time.Time) {
	m, at, found := payload.Find(body)
	if !found || at != 0 {
		s.broken(fmt.Sprintf("message that was not published: %.100s", body))
		return
	}
	s.client.message(nil, m, now)
}

// farewell answers a close frame and returns its code.
func (s *session) farewell(body []byte) error {
	code := closed(1005)
	if len(body) >= 2 {
		code = closed(int(body[0])<<8 | int(body[1]))
	}
	// the server may be gone by now
	_, _ = s.conn.Write(frame.Append(nil, frame.Close, body[:min(2, len(body))]))
	return s.closed(code)
}

// closed takes in the code that the server ends the connection with, and returns
// it.
func (s *session) closed(code closed) error {
	switch {
	// Codes from 3500 to 3999 forbid to come back, and those of RFC 6455 other
	// than the ends of a connection that is well say that the witness broke a rule,
	// which it does not.
	case code >= 3500 && code <= 3999, code == 1002, code == 1003, code >= 1007 && code <= 1010:
		s.final = true
		s.broken("closed with " + code.Error())
	case code == codeExpired && s.client.kind.Protocol.session():
		s.broken("closed because its token had run out, which it had renewed")
	}
	return code
}

func (s *session) broken(what string) { s.client.broken(what) }

func (m *client) broken(what string) {
	m.crew.account.fault(&m.crew.account.broken, 1, fmt.Sprintf("witness %d (%v): %s", m.number, m.kind, what))
}

func (s *session) send(commands ...*protocol.Command) error {
	return s.client.send(s.conn.Conn, commands...)
}

// send sends commands in one frame.
func (m *client) send(conn net.Conn, commands ...*protocol.Command) error {
	if len(commands) == 0 {
		return nil
	}
	text, err := m.kind.encode(commands...)
	if err != nil {
		return err
	}
	_, err = conn.Write(text)
	return err
}

// endOf counts the end of a connection.
func (a *account) endOf(s session, err error) {
	var code closed
	var timeout net.Error
	switch {
	case s.local:
	case errors.As(err, &code):
		a.end(code.Error())
	case deadline(err):
		a.end("no ping")
	case errors.As(err, &timeout) && timeout.Timeout():
		a.end("timeout")
	case err != nil:
		a.end(reason(err))
	}
}

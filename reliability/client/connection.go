package client

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/compare/workload"
	"github.com/tandem-ws/tandem/reliability/frame"
)

// connection is one connection of a client, from the answer to its request to its end.
type connection struct {
	client *client
	conn   *opened
	away   time.Time // when the client lost its previous connection
	ping   time.Duration

	connected bool // the server has accepted it
	back      bool // all channels have been subscribed
	local     bool // the client ended it
	final     bool // the server does not allow it to reconnect
}

// closed is the code with which the server ended a connection.
type closed int

// Error returns the code.
func (c closed) Error() string { return strconv.Itoa(int(c)) }

// codeExpired means that a token has expired.
const codeExpired closed = 3005

// serve handles the connection until it ends, and returns the reason.
func (m *client) serve(conn *opened, away time.Time) (connection, error) {
	s := connection{client: m, conn: conn, away: away}
	defer func() { _ = conn.Close() }() // it has ended
	var err error
	if m.attach(conn.Conn) {
		switch {
		case m.kind.Protocol.hasCommands():
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

// joined records that the server's answer to the request has subscribed the client to
// all of its channels.
func (s *connection) joined() {
	s.connected = true
	s.client.joinAll()
	s.returned(time.Now())
}

// returned records that the client is subscribed to all channels.
func (s *connection) returned(now time.Time) {
	if !s.back {
		s.back = true
		s.client.pool.counts.back.record(now.Sub(s.away))
	}
}

// frames reads WebSocket frames.
func (s *connection) frames() error {
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
			return s.answerClose(body)
		case op != frame.Text && op != frame.Binary:
			s.broken("frame with opcode " + strconv.Itoa(int(op)))
		case s.client.kind.Protocol.hasCommands():
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
func (s *connection) read(buf []byte) (op byte, body []byte, err error) {
	if !s.client.kind.Deflate {
		return frame.Read(s.conn.in, buf)
	}
	op, body, compressed, err := frame.ReadDeflate(s.conn.in, buf)
	if compressed && err == nil {
		s.client.pool.counts.deflated.Add(1)
	}
	return op, body, err
}

// payload handles a message without an envelope.
func (s *connection) payload(body []byte, now time.Time) {
	m, at, found := workload.FindMessage(body)
	if !found || at != 0 {
		s.broken(fmt.Sprintf("message that was not published: %.100s", body))
		return
	}
	s.client.message(nil, m, now)
}

// answerClose answers a close frame and returns its code.
func (s *connection) answerClose(body []byte) error {
	code := closed(1005)
	if len(body) >= 2 {
		code = closed(int(body[0])<<8 | int(body[1]))
	}
	// errors mean that the server is gone
	_, _ = s.conn.Write(frame.Append(nil, frame.Close, body[:min(2, len(body))]))
	return s.closed(code)
}

// closed handles the code with which the server ends the connection, and returns it.
func (s *connection) closed(code closed) error {
	switch {
	// Codes from 3500 to 3999 do not allow reconnecting. Those of RFC 6455 that are
	// listed here mean that the client broke a rule, which it does not.
	case code >= 3500 && code <= 3999, code == 1002, code == 1003, code >= 1007 && code <= 1010:
		s.final = true
		s.broken("closed with " + code.Error())
	case code == codeExpired && s.client.kind.Protocol.hasCommands():
		s.broken("closed because its token had run out, which it had renewed")
	}
	return code
}

func (s *connection) broken(what string) { s.client.broken(what) }

func (m *client) broken(what string) {
	m.pool.counts.fault(&m.pool.counts.broken, 1, fmt.Sprintf("client %d (%v): %s", m.number, m.kind, what))
}

func (s *connection) send(commands ...*protocol.Command) error {
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
func (a *counts) endOf(s connection, err error) {
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

package witness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/tandem-ws/tandem/compare/frame"
	"github.com/tandem-ws/tandem/compare/payload"
)

// session is one connection of a witness, from its handshake to its end.
type session struct {
	client *client
	conn   *upgraded
	away   time.Time // since when the witness has been away
	ping   time.Duration

	connected bool // the connect command was answered
	back      bool // all channels have been subscribed
	local     bool // the crew ended it
	final     bool // the server forbade to come back
}

// closed is the server's close frame.
type closed int

// Error names the code.
func (c closed) Error() string { return strconv.Itoa(int(c)) }

// serve speaks for the witness until the connection ends, and returns why it
// did.
func (m *client) serve(conn *upgraded, away time.Time) (session, error) {
	s := session{client: m, conn: conn, away: away}
	defer func() { _ = conn.Close() }() // it has ended
	var err error
	if m.attach(conn.Conn) {
		if _, err = conn.Write(frame.Append(nil, frame.Text, []byte(`{"id":1,"connect":{}}`))); err == nil {
			err = s.read()
		}
	}
	s.local = m.detach()
	return s, err
}

func (s *session) read() error {
	var buf []byte
	for {
		if s.ping > 0 {
			if err := s.conn.SetReadDeadline(time.Now().Add(s.ping + pingGrace)); err != nil {
				return err
			}
		}
		op, body, err := frame.Read(s.conn.in, buf)
		if err != nil {
			return err
		}
		buf = body
		switch op {
		case frame.Text:
			now := time.Now()
			for line := range bytes.SplitSeq(body, []byte("\n")) {
				if err := s.line(line, now); err != nil {
					return err
				}
			}
		case frame.Ping:
			_, err = s.conn.Write(frame.Append(nil, frame.Pong, body))
		case frame.Close:
			return s.farewell(body)
		default:
			s.broken("frame with opcode " + strconv.Itoa(int(op)))
		}
		if err != nil {
			return err
		}
	}
}

// farewell answers a close frame and returns its code.
func (s *session) farewell(body []byte) error {
	code := closed(1005)
	if len(body) >= 2 {
		code = closed(int(body[0])<<8 | int(body[1]))
	}
	// the server may be gone by now
	_, _ = s.conn.Write(frame.Append(nil, frame.Close, body[:min(2, len(body))]))
	// Codes from 3500 to 3999 forbid to come back, and those of RFC 6455 other
	// than the ends of a connection that is well say that the witness broke a rule,
	// which it does not.
	if code >= 3500 && code <= 3999 || code == 1002 || code == 1003 || code >= 1007 && code <= 1010 {
		s.final = true
		s.broken("closed with " + code.Error())
	}
	return code
}

func (s *session) broken(what string) {
	s.client.crew.account.fault(&s.client.crew.account.broken, 1, "witness "+strconv.Itoa(int(s.client.number))+": "+what)
}

// reply is what witnesses read of a line of the server.
type reply struct {
	ID    uint32 `json:"id"`
	Error *struct {
		Code      int    `json:"code"`
		Message   string `json:"message"`
		Temporary bool   `json:"temporary"`
	} `json:"error"`
	Connect *struct {
		Ping int `json:"ping"`
	} `json:"connect"`
	Push *struct {
		Channel     string `json:"channel"`
		Unsubscribe *struct {
			Code int `json:"code"`
		} `json:"unsubscribe"`
	} `json:"push"`
}

var publication = []byte(`{"push":{"channel":"`)

// line takes in one line of a text frame. An error ends the connection.
func (s *session) line(line []byte, now time.Time) error {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil
	}
	if rest, ok := bytes.CutPrefix(line, publication); ok {
		if m, _, found := payload.Find(rest); found {
			name, _, _ := bytes.Cut(rest, []byte{'"'})
			s.client.message(name, m, now)
			return nil
		}
	}
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		s.broken(fmt.Sprintf("line that is no JSON: %.100s", line))
		return nil
	}
	switch {
	case r.Push != nil && r.Push.Unsubscribe != nil:
		return s.gap(r.Push.Channel, r.Push.Unsubscribe.Code)
	case r.Push != nil:
		s.broken(fmt.Sprintf("unknown push: %.100s", line))
	case r.ID == 0:
		return s.send(`{}`) // a ping
	case r.ID == connectID:
		if r.Error != nil || r.Connect == nil {
			return fmt.Errorf("connect answered by %.100s", line)
		}
		s.connected = true
		s.ping = time.Duration(r.Connect.Ping) * time.Second
		return s.ask(s.client.askAll()...)
	case r.Error != nil:
		return s.refusal(&r, line)
	default:
		ok, all := s.client.confirmed(r.ID)
		if !ok {
			s.broken(fmt.Sprintf("reply that nobody asked for: %.100s", line))
		}
		if all && !s.back {
			s.back = true
			s.client.crew.account.back.record(now.Sub(s.away))
		}
	}
	return nil
}

func (s *session) send(text string) error {
	_, err := s.conn.Write(frame.Append(nil, frame.Text, []byte(text)))
	return err
}

// ask subscribes to the views with these numbers.
func (s *session) ask(views ...int) error {
	if len(views) == 0 {
		return nil
	}
	var text []byte
	for _, i := range views {
		text = s.client.appendSubscribe(text, i)
	}
	return s.send(string(text))
}

// gap is the server's end of a subscription.
func (s *session) gap(channel string, code int) error {
	if code < 2500 {
		s.broken("subscription ended with " + strconv.Itoa(code))
		return nil
	}
	s.client.crew.account.gaps.Add(1)
	i, ask := s.client.gap(channel)
	if i < 0 {
		s.broken("end of a subscription that there is not: " + channel)
		return nil
	}
	if ask {
		return s.ask(i)
	}
	return nil
}

// refusal is an error in answer to a command other than connect.
func (s *session) refusal(r *reply, line []byte) error {
	if !r.Error.Temporary {
		s.broken(fmt.Sprintf("error: %.100s", line))
		return nil
	}
	i, attempts, ok := s.client.refused(r.ID)
	if !ok {
		s.broken(fmt.Sprintf("error that nobody asked for: %.100s", line))
		return nil
	}
	s.client.crew.account.deferred.Add(1)
	conn := s.conn.Conn
	// It writes to a connection that may have ended, which is harmless.
	time.AfterFunc(s.client.crew.options.delay(attempts), func() {
		if s.client.askAgain(i, conn) {
			_, _ = conn.Write(frame.Append(nil, frame.Text, s.client.appendSubscribe(nil, i)))
		}
	})
	return nil
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

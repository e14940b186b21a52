package witness

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/compare/frame"
	"github.com/tandem-ws/tandem/compare/payload"
)

// connect sends the connect command.
func (s *session) connect() error {
	return s.send(&protocol.Command{Id: connectID, Connect: &protocol.ConnectRequest{Token: s.client.crew.options.Token("")}})
}

var publication = []byte(`{"push":{"channel":"`)

// message takes in a message, of one reply or several. An error ends the
// connection.
func (s *session) message(op byte, body []byte, now time.Time) error {
	// Most are publications, and need no decoder.
	for op == frame.Text && len(body) > 0 {
		line, rest, _ := bytes.Cut(body, []byte("\n"))
		push, ok := bytes.CutPrefix(line, publication)
		if !ok {
			break
		}
		m, _, found := payload.Find(push)
		if !found {
			break
		}
		name, _, _ := bytes.Cut(push, []byte{'"'})
		s.client.message(name, m, now)
		body = rest
	}
	return s.client.kind.replies(op, body, func(r *protocol.Reply) error { return s.reply(r, now) }, s.broken)
}

// reply takes in a reply. An error ends the connection.
func (s *session) reply(r *protocol.Reply, now time.Time) error {
	switch {
	case r.Push != nil && r.Push.Unsubscribe != nil:
		return s.gap(r.Push.Channel, r.Push.Unsubscribe.Code)
	case r.Push != nil && r.Push.Pub != nil:
		m, _, found := payload.Find(r.Push.Pub.Data)
		if !found {
			s.broken(fmt.Sprintf("message that was not published: %.100s", r.Push.Pub.Data))
			return nil
		}
		s.client.message([]byte(r.Push.Channel), m, now)
		return nil
	case r.Push != nil:
		s.broken(fmt.Sprintf("unknown push: %.100v", r))
		return nil
	}
	switch {
	case r.Id == 0:
		return s.send(&protocol.Command{}) // a ping
	case r.Id == connectID:
		if r.Error != nil || r.Connect == nil {
			return fmt.Errorf("connect answered by error %d", r.GetError().GetCode())
		}
		s.connected = true
		s.ping = time.Duration(r.Connect.Ping) * time.Second
		s.expires(r.Connect.Expires, r.Connect.Ttl, func() { s.client.renew(s.conn.Conn) })
		return s.ask(s.client.askAll()...)
	case r.Id == renewID:
		if r.Refresh == nil {
			s.broken(fmt.Sprintf("renewing its token: error %d", r.GetError().GetCode()))
			return nil
		}
		s.client.crew.account.renewed.Add(1)
		s.expires(r.Refresh.Expires, r.Refresh.Ttl, func() { s.client.renew(s.conn.Conn) })
	default:
		i, what := command(r.Id)
		switch {
		case i >= len(s.client.views):
			s.broken(fmt.Sprintf("reply that nobody asked for: %.100v", r))
		case what == renewSubscription:
			s.renewed(i, r)
		case r.Error != nil:
			return s.refusal(r)
		default:
			s.confirmed(i, r, now)
		}
	}
	return nil
}

// confirmed takes in the good answer to a command about view i.
func (s *session) confirmed(i int, r *protocol.Reply, now time.Time) {
	ok, all := s.client.confirmed(r.Id)
	if !ok {
		s.broken(fmt.Sprintf("reply that nobody asked for: %.100v", r))
	}
	if all {
		s.returned(now)
	}
	if r.Subscribe != nil {
		s.expiresView(i, r.Subscribe.Expires, r.Subscribe.Ttl)
	}
}

// expires has renew called when a token has run out that has so many seconds to
// go, as the SDKs do. It may write to a connection that has ended, which is harmless.
func (s *session) expires(does bool, seconds uint32, renew func()) {
	if does {
		time.AfterFunc(time.Duration(max(seconds, 1))*time.Second, renew)
	}
}

// expiresView is expires for the subscription of view i as it is now.
func (s *session) expiresView(i int, does bool, seconds uint32) {
	turn := s.client.turn(i)
	s.expires(does, seconds, func() { s.client.renewView(s.conn.Conn, i, turn) })
}

// renewed takes in the answer to a new token of view i.
func (s *session) renewed(i int, r *protocol.Reply) {
	// Where the subscription has ended meanwhile the answer means nothing.
	if !s.client.renewedView(i) {
		return
	}
	if r.SubRefresh == nil {
		s.broken(fmt.Sprintf("renewing a subscription's token: error %d", r.GetError().GetCode()))
		return
	}
	s.client.crew.account.renewed.Add(1)
	s.expiresView(i, r.SubRefresh.Expires, r.SubRefresh.Ttl)
}

// ask subscribes to the views with these numbers.
func (s *session) ask(views ...int) error {
	var commands []*protocol.Command
	for _, i := range views {
		commands = append(commands, s.client.subscribe(i))
	}
	return s.send(commands...)
}

// gap is the server's end of a subscription.
func (s *session) gap(channel string, code uint32) error {
	if code < 2500 || code == 2501 {
		s.broken("subscription ended with " + strconv.Itoa(int(code)))
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

// refusal is an error in answer to a subscription or its end.
func (s *session) refusal(r *protocol.Reply) error {
	if !r.Error.Temporary {
		s.broken(fmt.Sprintf("error %d: %s", r.Error.Code, r.Error.Message))
		return nil
	}
	i, attempts, ok := s.client.refused(r.Id)
	if !ok {
		s.broken(fmt.Sprintf("error that nobody asked for: %d: %s", r.Error.Code, r.Error.Message))
		return nil
	}
	s.client.crew.account.deferred.Add(1)
	conn := s.conn.Conn
	// It writes to a connection that may have ended, which is harmless.
	time.AfterFunc(s.client.crew.options.delay(attempts), func() {
		if s.client.askAgain(i, conn) {
			_ = s.client.send(conn, s.client.subscribe(i))
		}
	})
	return nil
}

package client

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/compare/workload"
	"github.com/tandem-ws/tandem/reliability/frame"
)

// connect sends the connect command.
func (s *connection) connect() error {
	return s.send(&protocol.Command{Id: connectID, Connect: &protocol.ConnectRequest{Token: s.client.pool.options.Token("")}})
}

var publication = []byte(`{"push":{"channel":"`)

// message handles a message, which may hold several replies. An error ends the
// connection.
func (s *connection) message(op byte, body []byte, now time.Time) error {
	// Most are publications, and are parsed without a decoder.
	for op == frame.Text && len(body) > 0 {
		line, rest, _ := bytes.Cut(body, []byte("\n"))
		push, ok := bytes.CutPrefix(line, publication)
		if !ok {
			break
		}
		m, _, found := workload.FindMessage(push)
		if !found {
			break
		}
		name, _, _ := bytes.Cut(push, []byte{'"'})
		s.client.message(name, m, now)
		body = rest
	}
	return s.client.kind.replies(op, body, func(r *protocol.Reply) error { return s.reply(r, now) }, s.broken)
}

// reply handles a reply. An error ends the connection.
func (s *connection) reply(r *protocol.Reply, now time.Time) error {
	switch {
	case r.Push != nil && r.Push.Unsubscribe != nil:
		return s.gap(r.Push.Channel, r.Push.Unsubscribe.Code)
	case r.Push != nil && r.Push.Pub != nil:
		m, _, found := workload.FindMessage(r.Push.Pub.Data)
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
		s.client.pool.counts.renewed.Add(1)
		s.expires(r.Refresh.Expires, r.Refresh.Ttl, func() { s.client.renew(s.conn.Conn) })
	default:
		i, what := command(r.Id)
		switch {
		case i >= len(s.client.subscriptions):
			s.broken(fmt.Sprintf("unexpected reply: %.100v", r))
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

// confirmed handles the successful reply to a command about subscription i.
func (s *connection) confirmed(i int, r *protocol.Reply, now time.Time) {
	ok, all := s.client.confirmed(r.Id)
	if !ok {
		s.broken(fmt.Sprintf("unexpected reply: %.100v", r))
	}
	if all {
		s.returned(now)
	}
	if r.Subscribe != nil {
		s.subscriptionExpires(i, r.Subscribe.Expires, r.Subscribe.Ttl)
	}
}

// expires calls renew when a token expires that is valid for so many seconds, as the
// SDKs do. By then the connection may have ended, which does no harm.
func (s *connection) expires(does bool, seconds uint32, renew func()) {
	if does {
		time.AfterFunc(time.Duration(max(seconds, 1))*time.Second, renew)
	}
}

// subscriptionExpires is expires for the token of subscription i.
func (s *connection) subscriptionExpires(i int, does bool, seconds uint32) {
	turn := s.client.turn(i)
	s.expires(does, seconds, func() { s.client.renewSubscriptionToken(s.conn.Conn, i, turn) })
}

// renewed handles the reply to a new token of subscription i.
func (s *connection) renewed(i int, r *protocol.Reply) {
	// If the subscription has ended meanwhile, the reply means nothing.
	if !s.client.renewedSubscription(i) {
		return
	}
	if r.SubRefresh == nil {
		s.broken(fmt.Sprintf("renewing a subscription's token: error %d", r.GetError().GetCode()))
		return
	}
	s.client.pool.counts.renewed.Add(1)
	s.subscriptionExpires(i, r.SubRefresh.Expires, r.SubRefresh.Ttl)
}

// ask sends subscribe commands for these subscriptions.
func (s *connection) ask(subscriptions ...int) error {
	var commands []*protocol.Command
	for _, i := range subscriptions {
		commands = append(commands, s.client.subscribe(i))
	}
	return s.send(commands...)
}

// gap handles the end of a subscription by the server.
func (s *connection) gap(channel string, code uint32) error {
	if code < 2500 || code == 2501 {
		s.broken("subscription ended with " + strconv.Itoa(int(code)))
		return nil
	}
	s.client.pool.counts.gaps.Add(1)
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

// refusal handles an error in reply to a subscribe or unsubscribe command.
func (s *connection) refusal(r *protocol.Reply) error {
	if !r.Error.Temporary {
		s.broken(fmt.Sprintf("error %d: %s", r.Error.Code, r.Error.Message))
		return nil
	}
	i, attempts, ok := s.client.refused(r.Id)
	if !ok {
		s.broken(fmt.Sprintf("unexpected error: %d: %s", r.Error.Code, r.Error.Message))
		return nil
	}
	s.client.pool.counts.refused.Add(1)
	conn := s.conn.Conn
	// The connection may have ended by then, which does no harm.
	time.AfterFunc(s.client.pool.options.delay(attempts), func() {
		if s.client.askAgain(i, conn) {
			_ = s.client.send(conn, s.client.subscribe(i))
		}
	})
	return nil
}

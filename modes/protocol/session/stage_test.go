package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// fakePeer is a connection without a socket. What it sends and does is written
// down, a line each.
type fakePeer struct {
	log     []string
	subs    map[string]bool // by name; true: of the server's making
	pending map[string]bool // the same while Redis has not answered
	delay   bool            // it answers when it is told to, see answer
	answers []func(error)

	delayPublish bool
	accepted     []func(error) // of what is published, when it is to be delayed
	account      *Account
	expireAt     time.Time
	now          time.Time
	work         []func() // what waits to be worked on
	fail         error    // of Subscribe and Work
}

func (p *fakePeer) note(format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf(format, args...))
}

func (p *fakePeer) ClientID() string { return "me" }

func (p *fakePeer) Send(reply *protocol.Reply) {
	p.note("%s", reply.AppendJSON(nil))
}

func (p *fakePeer) Disconnect(d wire.Disconnect) { p.note("close %d", d.Code) }

func (p *fakePeer) Subscriptions(channel string) (int, Status) {
	status := Unsubscribed
	if _, has := p.subs[channel]; has {
		status = Subscribed
	} else if _, has := p.pending[channel]; has {
		status = Subscribing
	}
	return len(p.subs) + len(p.pending), status
}

func (p *fakePeer) Subscribe(serverSide bool, s Subscriber, channels ...string) {
	if p.pending == nil {
		p.pending = map[string]bool{}
	}
	for _, channel := range channels {
		p.pending[channel] = serverSide
	}
	answer := func(err error) {
		for _, channel := range channels {
			delete(p.pending, channel)
			if err == nil {
				p.subs[channel] = serverSide
			}
		}
		s.Confirmed(err)
		s.Finished()
	}
	if !p.delay {
		answer(p.fail)
		return
	}
	p.note("ask for %s", strings.Join(channels, " "))
	p.answers = append(p.answers, answer)
}

// answer has Redis answer the first request that waits.
func (p *fakePeer) answer(err error) {
	answer := p.answers[0]
	p.answers = p.answers[1:]
	answer(err)
}

func (p *fakePeer) Unsubscribe(channel string) {
	if _, has := p.subs[channel]; !has {
		panic("no subscription to " + channel)
	}
	delete(p.subs, channel)
}

func (p *fakePeer) Publish(channel string, data []byte, accepted func(error)) {
	p.note("publish %s %s", channel, data)
	if p.delayPublish {
		p.accepted = append(p.accepted, accepted)
		return
	}
	accepted(nil)
}

func (p *fakePeer) Work(work func(), done func(error)) {
	p.work = append(p.work, func() {
		if p.fail == nil {
			work()
		}
		done(p.fail)
	})
}

func (p *fakePeer) Account(open bool) *Account {
	if p.account == nil && open {
		p.account = new(Account)
	}
	return p.account
}

func (p *fakePeer) ExpireAt(at time.Time) { p.expireAt = at }
func (p *fakePeer) Now() time.Time        { return p.now }

// runWork does what waits.
func (p *fakePeer) runWork() {
	for len(p.work) > 0 {
		work := p.work[0]
		p.work = p.work[1:]
		work()
	}
}

// fakeVerifier takes tokens that say in words what they are: "user=u channel=c
// client=c channels=a,b exp=s", "expired" or "early".
type fakeVerifier struct {
	costly   bool
	verified *int // counts; may be nil
}

func (v fakeVerifier) Costly() bool { return v.costly }

func (v fakeVerifier) Verify(token string) (c Claims, err error) {
	if v.verified != nil {
		*v.verified++
	}
	switch token {
	case "expired":
		return c, ErrTokenExpired
	case "early":
		return c, fmt.Errorf("%w: in an hour", ErrTokenNotYetValid)
	}
	for _, word := range strings.Fields(token) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "user":
			c.User = value
		case "channel":
			c.Channel = value
		case "client":
			c.Client = value
		case "channels":
			c.Channels = strings.Split(value, ",")
		case "exp":
			if _, err := fmt.Sscan(value, &c.Expires); err != nil {
				return c, err
			}
		default:
			return Claims{}, fmt.Errorf("%w: %s", ErrTokenInvalid, word)
		}
	}
	return c, nil
}

// stage is a session with its peer.
type stage struct {
	*fakePeer
	t       *testing.T
	rules   Rules
	session Session
}

func newStage(t *testing.T, change func(*Rules)) *stage {
	s := &stage{t: t, rules: Rules{Version: "v", MaxChannels: 3, MaxChannelLength: 20, PrivatePrefix: "$", ClientPublish: true,
		TokenGrace: 5 * time.Second}, fakePeer: &fakePeer{subs: map[string]bool{}, now: time.Unix(1000, 0)}}
	if change != nil {
		change(&s.rules)
	}
	return s
}

func withTokens(r *Rules) { r.Tokens = fakeVerifier{} }

// says sends messages and expects that this is sent and done.
func (s *stage) says(message string, want ...string) {
	s.t.Helper()
	s.session.Handle(&s.rules, wire.JSON, s, []byte(message))
	s.expect(message, want...)
}

func (s *stage) expect(after string, want ...string) {
	s.t.Helper()
	if !slices.Equal(s.log, want) {
		s.t.Fatalf("after %s\ngot  %s\nwant %s", after, strings.Join(s.log, "\n     "), strings.Join(want, "\n     "))
	}
	s.log = nil
}

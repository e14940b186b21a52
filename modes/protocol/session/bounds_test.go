package session

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// encoded returns a message with these commands.
func encoded(t testing.TB, p wire.Protocol, commands ...*protocol.Command) (message []byte) {
	t.Helper()
	for i, c := range commands {
		if p == wire.JSON {
			if i > 0 {
				message = append(message, '\n')
			}
			message = c.AppendJSON(message)
			continue
		}
		body, err := c.MarshalCF()
		if err != nil {
			t.Fatal(err)
		}
		message = append(binary.AppendUvarint(message, uint64(len(body))), body...)
	}
	return message
}

var encodings = map[string]wire.Protocol{"json": wire.JSON, "protobuf": wire.Protobuf}

// The work for a message must be in proportion to its length: each command behind a
// token is decoded once, not once for each token before it. Allocations count it.
func TestWorkIsLinear(t *testing.T) {
	for name, p := range encodings {
		t.Run(name, func(t *testing.T) {
			verified := 0
			allocations := func(n int) float64 {
				commands := []*protocol.Command{}
				for i := range n {
					commands = append(commands, &protocol.Command{Id: uint32(i + 2),
						Subscribe: &protocol.SubscribeRequest{Channel: "$", Token: "a"}})
				}
				message := encoded(t, p, commands...)
				connect := encoded(t, p, &protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{Token: "user=u"}})
				return testing.AllocsPerRun(1, func() {
					s := newStage(t, func(r *Rules) { r.Tokens = fakeVerifier{costly: true, verified: &verified} })
					s.session.Handle(&s.rules, p, s, connect)
					s.runWork()
					verified = 0
					s.session.Handle(&s.rules, p, s, message)
					s.runWork()
					if verified != n || len(s.log) != n+1 {
						t.Errorf("%d of %d tokens were verified, %d replies sent", verified, n, len(s.log))
					}
				})
			}
			few, many := allocations(100), allocations(1000)
			if many > 15*few {
				t.Errorf("1000 commands cost %v allocations, 100 cost %v", many, few)
			}
		})
	}
}

// A message has a bound of commands, and nothing of one beyond it is done.
func TestCommandsOfAMessage(t *testing.T) {
	for name, p := range encodings {
		t.Run(name, func(t *testing.T) {
			message := func(n int) []byte {
				commands := make([]*protocol.Command, n)
				for i := range commands {
					commands[i] = &protocol.Command{Id: uint32(i + 1), Ping: &protocol.PingRequest{}}
				}
				commands[0] = &protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{}}
				return encoded(t, p, commands...)
			}
			s := newStage(t, nil)
			most := s.rules.MaxCommands()
			s.session.Handle(&s.rules, p, s, message(most))
			if len(s.log) != most {
				t.Errorf("%d of %d commands were answered", len(s.log), most)
			}
			s = newStage(t, nil)
			s.session.Handle(&s.rules, p, s, message(most+1))
			s.expect("one more", "close 3013")
			if s.session.Connected() {
				t.Error("a message with too many commands was begun")
			}
		})
	}
}

// What is held while a token is being verified has a bound in memory.
func TestHeldMemory(t *testing.T) {
	costly := func(r *Rules) { r.Tokens = fakeVerifier{costly: true} }
	connect := []byte(`{"id":1,"connect":{"token":"user=u"}}`)
	for name, message := range map[string]string{
		"empty":     "",
		"a byte":    "x",
		"a ping":    `{"id":2,"ping":{}}`,
		"a quarter": `{"id":2,"rpc":{"method":"` + strings.Repeat("x", maxHeld/4-100) + `"}}`,
		"too long":  strings.Repeat("x", maxHeld),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, costly)
			s.session.Handle(&s.rules, wire.JSON, s, connect)
			for n := 0; len(s.log) == 0; n++ {
				if n > maxHeld {
					t.Fatalf("%d messages are held", n)
				}
				s.session.Handle(&s.rules, wire.JSON, s, []byte(message))
			}
			s.expect("too much", "close 3013")
			if used := cap(s.account.held.later) + cap(s.account.held.rest); used > 2*maxHeld {
				t.Errorf("%d bytes are held", used)
			}
		})
	}
	t.Run("the rest of the message", func(t *testing.T) {
		s := newStage(t, costly)
		s.session.Handle(&s.rules, wire.JSON, s, []byte(string(connect)+"\n"+strings.Repeat("x", maxHeld+1)))
		s.expect("too much", "close 3013")
	})
	// A connected client sends the tokens of all its channels in one message, and
	// answers pings behind it.
	t.Run("connected", func(t *testing.T) {
		s := newStage(t, costly)
		s.session.Handle(&s.rules, wire.JSON, s, connect)
		s.runWork()
		s.log = nil
		var lines []string
		for i := range 128 {
			lines = append(lines, fmt.Sprintf(`{"id":%d,"subscribe":{"channel":"$%s%d","token":"%s"}}`, i+2, strings.Repeat("x", 255), i, strings.Repeat("x", 532)))
		}
		s.session.Handle(&s.rules, wire.JSON, s, []byte(strings.Join(lines, "\n")))
		s.session.Pinged()
		s.session.Handle(&s.rules, wire.JSON, s, []byte("{}"))
		s.runWork()
		if len(s.log) != len(lines) {
			t.Errorf("%d of %d commands were answered", len(s.log), len(lines))
		}
		if s.session.AwaitingPong() {
			t.Error("the pong behind them was lost")
		}
	})
}

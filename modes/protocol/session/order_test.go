package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

const welcomed = `{"id":1,"connect":{"client":"me","version":"v"}}`

// delayed is a stage that is connected and whose Redis answers when it is told to.
func delayed(t *testing.T, change func(*Rules)) *stage {
	t.Helper()
	s := newStage(t, change)
	s.says(`{"id":1,"connect":{"token":"user=u"}}`, welcomed)
	s.delay = true
	return s
}

func confirmed(id int) string    { return fmt.Sprintf(`{"id":%d,"subscribe":{}}`, id) }
func unsubscribed(id int) string { return fmt.Sprintf(`{"id":%d,"unsubscribe":{}}`, id) }
func refusedWith(id, code int) string {
	message := map[int]string{103: "permission denied", 105: "already subscribed", 106: "limit exceeded", 107: "bad request", 108: "not available"}[code]
	return fmt.Sprintf(`{"id":%d,"error":{"code":%d,"message":%q}}`, id, code, message)
}

func failed(id int) string {
	return fmt.Sprintf(`{"id":%d,"error":{"code":100,"message":"internal server error","temporary":true}}`, id)
}

// commands makes one message of several: "+a" subscribes to a, "-a" leaves it, "!a"
// publishes to it, "?a" asks for its history. Their ids go up from first.
func commands(first int, list string) string {
	var lines []string
	for i, word := range strings.Fields(list) {
		format := map[byte]string{
			'+': `{"id":%d,"subscribe":{"channel":"%s"}}`,
			'-': `{"id":%d,"unsubscribe":{"channel":"%s"}}`,
			'!': `{"id":%d,"publish":{"channel":"%s","data":1}}`,
			'?': `{"id":%d,"history":{"channel":"%s"}}`,
		}[word[0]]
		lines = append(lines, fmt.Sprintf(format, first+i, word[1:]))
	}
	return strings.Join(lines, "\n")
}

func TestLastCommandWins(t *testing.T) {
	s := delayed(t, nil)
	s.says(commands(2, "+a -a +a +a !a ?a -a +a"), "ask for a")
	s.answer(nil)
	s.expect("Redis confirms", confirmed(2), unsubscribed(3), "ask for a")
	s.answer(nil)
	s.expect("Redis confirms again", confirmed(4), refusedWith(5, 105), "publish a 1", `{"id":6,"publish":{}}`,
		refusedWith(7, 108), unsubscribed(8), "ask for a")
	s.says(commands(10, "-a"))
	s.answer(nil)
	s.expect("Redis confirms a third time", confirmed(9), unsubscribed(10))
	if len(s.subs)+len(s.account.queues)+s.account.queued != 0 {
		t.Errorf("subscribed to %v, %d queues of %d bytes", s.subs, len(s.account.queues), s.account.queued)
	}
}

// Other channels do not wait, and a channel that is there at once needs no queue.
func TestOtherChannelsDoNotWait(t *testing.T) {
	s := delayed(t, nil)
	s.says(commands(2, "+a -a"), "ask for a")
	s.delay = false
	s.says(commands(4, "+b -b +b !b")+"\n"+`{"id":8,"ping":{}}`, confirmed(4), unsubscribed(5), confirmed(6),
		"publish b 1", `{"id":7,"publish":{}}`, `{"id":8,"ping":{}}`)
	s.says(commands(9, "+a -a +a"))
	s.answer(nil)
	s.expect("Redis confirms", confirmed(2), unsubscribed(3), confirmed(9), unsubscribed(10), confirmed(11))
}

// What Redis refuses is refused to its own command alone.
func TestFailureIsAnsweredOnce(t *testing.T) {
	s := delayed(t, nil)
	s.says(commands(2, "+a +a -a +a !a"), "ask for a")
	s.answer(errors.New("refused"))
	s.expect("Redis refuses", failed(2), "ask for a")
	s.answer(errors.New("refused"))
	s.expect("Redis refuses again", failed(3), unsubscribed(4), "ask for a")
	s.answer(nil)
	s.expect("Redis confirms", confirmed(5), "publish a 1", `{"id":6,"publish":{}}`)
}

// An unsubscribe frees its place for what follows, and still a client has no more
// channels asked for at a time than it may have.
func TestPlaces(t *testing.T) {
	s := delayed(t, nil) // 3 channels
	s.says(commands(2, "+a +b +c +d"), "ask for a", "ask for b", "ask for c", refusedWith(5, 106))
	s.says(commands(6, "-b +d +e") + "\n" + commands(9, "-d +e"))
	s.answer(nil)
	s.expect("a is confirmed", confirmed(2))
	s.answer(nil)
	s.expect("b is confirmed", confirmed(3), unsubscribed(6), "ask for d", refusedWith(8, 106))
	s.answer(nil)
	s.expect("c is confirmed", confirmed(4))
	s.answer(nil)
	s.expect("d is confirmed", confirmed(7), unsubscribed(9), "ask for e")
	s.answer(nil)
	s.expect("e is confirmed", confirmed(10))
	if got := fmt.Sprint(s.subs); got != "map[a:false c:false e:false]" {
		t.Errorf("subscribed to %s", got)
	}
}

// Commands wait for the connect command before them, whatever becomes of it.
func TestCommandsBehindConnect(t *testing.T) {
	const connect = `{"id":1,"connect":{"subs":{"a":{}}}}`
	s := newStage(t, nil)
	s.delay = true
	s.says(connect+"\n"+commands(2, "-a +a +b"), "ask for a")
	s.says(commands(5, "-b"))
	s.answer(nil)
	s.expect("Redis confirms", `{"id":1,"connect":{"client":"me","version":"v","subs":{"a":{"recoverable":true}}}}`, unsubscribed(2), "ask for a", "ask for b")
	s.answer(nil)
	s.answer(nil)
	s.expect("Redis confirms", confirmed(3), confirmed(4), unsubscribed(5))

	s = newStage(t, nil)
	s.delay = true
	s.says(connect+"\n"+commands(2, "+b"), "ask for a")
	s.answer(errors.New("refused"))
	s.expect("Redis refuses", failed(1), "close 3502")
}

func TestPrivateChannelsInOrder(t *testing.T) {
	for _, costly := range []bool{false, true} {
		s := newStage(t, func(r *Rules) { r.Tokens = fakeVerifier{costly: costly} })
		s.session.Handle(&s.rules, wire.JSON, s, []byte(`{"id":1,"connect":{"token":"user=u"}}`))
		s.runWork()
		s.expect("connect", welcomed)
		s.delay = true
		subscribe := func(id int, token string) string {
			return fmt.Sprintf(`{"id":%d,"subscribe":{"channel":"$a","token":%q}}`, id, token)
		}
		refresh := func(id int, token string) string {
			return fmt.Sprintf(`{"id":%d,"sub_refresh":{"channel":"$a","token":%q}}`, id, token)
		}
		s.session.Handle(&s.rules, wire.JSON, s, []byte(strings.Join([]string{
			subscribe(2, "user=u channel=$a exp=1010"), refresh(3, ""), refresh(4, "user=u channel=$a exp=1020"), commands(5, "!$a -$a !$a"),
			subscribe(8, ""), subscribe(9, "user=u channel=$b"), subscribe(10, "user=u channel=$a exp=1030"),
			refresh(11, "user=u channel=$a exp=1040")}, "\n")))
		s.runWork()
		s.expect("the commands", "ask for $a")
		s.answer(nil)
		s.expect("Redis confirms", `{"id":2,"subscribe":{"expires":true,"ttl":10}}`, refusedWith(3, 107), `{"id":4,"sub_refresh":{"expires":true,"ttl":20}}`,
			"publish $a 1", `{"id":5,"publish":{}}`, unsubscribed(6), refusedWith(7, 103), refusedWith(8, 103), refusedWith(9, 103), "ask for $a")
		s.answer(nil)
		s.expect("Redis confirms again", `{"id":10,"subscribe":{"expires":true,"ttl":30}}`, `{"id":11,"sub_refresh":{"expires":true,"ttl":40}}`)
		// The refresh that came last counts, though it came before the confirmation.
		s.expireWhenDue(1044)
		s.expect("the first tokens have expired")
		s.expireWhenDue(1045)
		s.expect("the last token has expired", expiredA)
	}
}

// What waits is bounded, in queues and behind them, and a pong is no part of it.
func TestWaitingIsBounded(t *testing.T) {
	s := delayed(t, nil)
	s.says(commands(2, "+a"), "ask for a")
	payload := strings.Repeat("x", 8<<10)
	publish := func(id int) []byte {
		return fmt.Appendf(nil, `{"id":%d,"publish":{"channel":"a","data":"%s"}}`, id, payload)
	}
	n := 0
	for ; len(s.log) == 0; n++ {
		if s.session.Pinged(); n > 100 {
			t.Fatal("there is no bound")
		}
		s.says("{}")
		if s.session.AwaitingPong() {
			t.Fatalf("after %d commands a pong goes unheard", n)
		}
		s.session.Handle(&s.rules, wire.JSON, s, publish(n+3))
	}
	s.expect("too much", "close 3013")
	if most := (maxQueued + maxHeld + 3*len(payload)) / len(payload); n > most {
		t.Errorf("%d commands of %d bytes have waited, want no more than %d", n, len(payload), most)
	}

	s = delayed(t, nil)
	s.says(commands(2, "+a"), "ask for a")
	for id := range maxQueued/stepSize + 50 {
		s.says(commands(100+id, "!a"))
	}
	if !s.session.blocked || s.account.queued > maxQueued+stepSize {
		t.Errorf("%d bytes wait in queues, blocked %v", s.account.queued, s.session.blocked)
	}
	s.answer(nil)
	if got, want := len(s.log), 1+2*(maxQueued/stepSize+50); got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
	if a := s.account; s.session.blocked || a.queued+len(a.queues) != 0 || a.held != nil {
		t.Errorf("left: blocked %v, %+v", s.session.blocked, a)
	}
}

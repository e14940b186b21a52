package session

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func TestWithoutTokens(t *testing.T) {
	s := newStage(t, nil)
	s.says(`{"id":1,"connect":{"token":"whatever"}}`, `{"id":1,"connect":{"client":"me","version":"v"}}`)
	// The prefix means something only where there are tokens.
	s.says(`{"id":2,"subscribe":{"channel":"$a"}}`, `{"id":2,"subscribe":{}}`)
	s.says(`{"id":3,"refresh":{"token":"x"}}`, `{"id":3,"error":{"code":108,"message":"not available"}}`)
	s.says(`{"id":4,"sub_refresh":{"channel":"$a","token":"x"}}`, `{"id":4,"error":{"code":108,"message":"not available"}}`)
	if s.account != nil {
		t.Error("a connection without a token has an account")
	}
}

func TestOrder(t *testing.T) {
	newStage(t, nil).says(`{"id":1,"subscribe":{"channel":"a"}}`, "close 3502")
	s := newStage(t, nil)
	s.says(`{"id":1,"connect":{}}`, `{"id":1,"connect":{"client":"me","version":"v"}}`)
	s.says(`{"id":2,"connect":{}}`, "close 3501")
	s = newStage(t, nil)
	s.says("{\"id\":1,\"connect\":{}}\n{}", `{"id":1,"connect":{"client":"me","version":"v"}}`, "close 3501")
}

func TestConnectTokens(t *testing.T) {
	for token, want := range map[string]string{
		"":                        "close 3500",
		"nonsense":                "close 3500",
		"user=u channel=$a":       "close 3500",
		"user=u client=other":     "close 3500",
		"expired":                 `{"id":1,"error":{"code":109,"message":"token expired"}}`,
		"user=u":                  `{"id":1,"connect":{"client":"me","version":"v"}}`,
		"user=u client=me":        `{"id":1,"connect":{"client":"me","version":"v"}}`,
		"user=u exp=1060":         `{"id":1,"connect":{"client":"me","version":"v","expires":true,"ttl":60}}`,
		"user=u channels=$a":      `{"id":1,"connect":{"client":"me","version":"v","subs":{"$a":{"recoverable":true}}}}`,
		"user=u channels=":        `{"id":1,"error":{"code":107,"message":"bad request"}}`,
		"user=u channels=1,2,3,4": `{"id":1,"error":{"code":106,"message":"limit exceeded"}}`,
	} {
		newStage(t, withTokens).says(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token), want)
	}
	s := newStage(t, withTokens)
	s.says(`{"id":1,"connect":{"token":"expired"}}`, `{"id":1,"error":{"code":109,"message":"token expired"}}`)
	s.says(`{"id":2,"connect":{"token":"user=u"}}`, `{"id":2,"connect":{"client":"me","version":"v"}}`)
}

func TestConnectSubsOfPrivateChannels(t *testing.T) {
	newStage(t, withTokens).says(`{"id":1,"connect":{"token":"user=u","subs":{"$a":{}}}}`,
		`{"id":1,"error":{"code":103,"message":"permission denied"}}`)
	newStage(t, withTokens).says(`{"id":1,"connect":{"token":"user=u","subs":{"$a":{"token":"user=u channel=$a"}}}}`,
		`{"id":1,"error":{"code":103,"message":"permission denied"}}`)
	s := newStage(t, withTokens)
	s.session.Handle(&s.rules, wire.JSON, s, []byte(`{"id":1,"connect":{"token":"user=u channels=$a","subs":{"$a":{},"b":{}}}}`))
	if got := slices.Sorted(maps.Keys(s.subs)); !slices.Equal(got, []string{"$a", "b"}) || !s.subs["$a"] || !s.subs["b"] {
		t.Errorf("subscribed to %v", s.subs)
	}
}

func TestPrivateChannels(t *testing.T) {
	const denied = `{"id":2,"error":{"code":103,"message":"permission denied"}}`
	for token, want := range map[string]string{
		"":                            denied,
		"nonsense":                    denied,
		"user=u":                      denied,
		"user=u channel=$b":           denied,
		"user=x channel=$a":           denied,
		"channel=$a":                  denied,
		"user=u channel=$a client=he": denied,
		"expired":                     `{"id":2,"error":{"code":109,"message":"token expired"}}`,
		"user=u channel=$a":           `{"id":2,"subscribe":{}}`,
		"user=u channel=$a client=me": `{"id":2,"subscribe":{}}`,
		"user=u channel=$a exp=1030":  `{"id":2,"subscribe":{"expires":true,"ttl":30}}`,
	} {
		s := newStage(t, withTokens)
		s.says(`{"id":1,"connect":{"token":"user=u"}}`, `{"id":1,"connect":{"client":"me","version":"v"}}`)
		s.says(fmt.Sprintf(`{"id":2,"subscribe":{"channel":"$a","token":%q}}`, token), want)
		_, has := s.subs["$a"]
		if in := strings.Contains(want, "subscribe"); has != in {
			t.Errorf("%s: subscribed %v", token, has)
		}
		// Whoever may not listen may not speak.
		if has {
			s.says(`{"id":3,"publish":{"channel":"$a","data":1}}`, "publish $a 1", `{"id":3,"publish":{}}`)
		} else {
			s.says(`{"id":3,"publish":{"channel":"$a","data":1}}`, `{"id":3,"error":{"code":103,"message":"permission denied"}}`)
		}
	}
	s := newStage(t, withTokens)
	s.says(`{"id":1,"connect":{"token":"user=u"}}`, `{"id":1,"connect":{"client":"me","version":"v"}}`)
	s.fail = errors.New("Redis is away")
	s.says(`{"id":2,"subscribe":{"channel":"$a","token":"user=u channel=$a exp=1030"}}`,
		`{"id":2,"error":{"code":100,"message":"internal server error","temporary":true}}`)
	if len(s.account.own) != 0 {
		t.Error("the token of a subscription that is not there is kept")
	}
}

func TestRefresh(t *testing.T) {
	for token, want := range map[string]string{
		"":                           "{\"id\":2,\"error\":{\"code\":107,\"message\":\"bad request\"}}",
		"expired":                    "close 3005",
		"nonsense":                   "close 3500",
		"user=x exp=2000":            "close 3500",
		"user=u channel=$a exp=2000": "close 3500",
		"user=u exp=1900":            `{"id":2,"refresh":{"client":"me","version":"v","expires":true,"ttl":900}}`,
		"user=u":                     `{"id":2,"refresh":{"client":"me","version":"v"}}`,
	} {
		s := newStage(t, withTokens)
		s.says(`{"id":1,"connect":{"token":"user=u exp=1060"}}`, `{"id":1,"connect":{"client":"me","version":"v","expires":true,"ttl":60}}`)
		if want := time.Unix(1065, 0); !s.expireAt.Equal(want) {
			t.Errorf("to expire at %v, want %v", s.expireAt, want)
		}
		s.says(fmt.Sprintf(`{"id":2,"refresh":{"token":%q}}`, token), want)
	}
}

func TestExpire(t *testing.T) {
	s := newStage(t, withTokens)
	expire := func(at int64) {
		s.now = time.Unix(at, 0)
		s.session.Expire(&s.rules, s)
	}
	s.says(`{"id":1,"connect":{"token":"user=u exp=1060"}}`, `{"id":1,"connect":{"client":"me","version":"v","expires":true,"ttl":60}}`)
	s.says(`{"id":2,"subscribe":{"channel":"$a","token":"user=u channel=$a exp=1030"}}`, `{"id":2,"subscribe":{"expires":true,"ttl":30}}`)
	s.says(`{"id":3,"subscribe":{"channel":"$b","token":"user=u channel=$b exp=1020"}}`, `{"id":3,"subscribe":{"expires":true,"ttl":20}}`)
	s.says(`{"id":4,"sub_refresh":{"channel":"$a","token":"user=u channel=$a exp=1040"}}`, `{"id":4,"sub_refresh":{"expires":true,"ttl":40}}`)
	expire(1024)
	s.expect("1024")
	if !s.expireAt.Equal(time.Unix(1025, 0)) {
		t.Errorf("to expire at %v", s.expireAt)
	}
	expire(1025)
	s.expect("1025", `{"push":{"channel":"$b","unsubscribe":{"code":2501,"reason":"subscription expired"}}}`)
	s.says(`{"id":5,"unsubscribe":{"channel":"$a"}}`, `{"id":5,"unsubscribe":{}}`)
	expire(1050)
	s.expect("1050")
	s.says(`{"id":6,"refresh":{"token":"user=u exp=1100"}}`, `{"id":6,"refresh":{"client":"me","version":"v","expires":true,"ttl":50}}`)
	expire(1104)
	s.expect("1104")
	expire(1105)
	s.expect("1105", "close 3005")
}

func TestSubRefresh(t *testing.T) {
	for token, want := range map[string]string{
		"":                           `{"id":3,"error":{"code":107,"message":"bad request"}}`,
		"expired":                    "close 3006",
		"nonsense":                   "close 3500",
		"user=u channel=$b":          "close 3500",
		"user=u channel=$a":          `{"id":3,"sub_refresh":{}}`,
		"user=u channel=$a exp=1500": `{"id":3,"sub_refresh":{"expires":true,"ttl":500}}`,
	} {
		s := newStage(t, withTokens)
		s.says(`{"id":1,"connect":{"token":"user=u"}}`, `{"id":1,"connect":{"client":"me","version":"v"}}`)
		s.says(`{"id":2,"subscribe":{"channel":"$a","token":"user=u channel=$a"}}`, `{"id":2,"subscribe":{}}`)
		s.says(fmt.Sprintf(`{"id":3,"sub_refresh":{"channel":"$a","token":%q}}`, token), want)
	}
	s := newStage(t, withTokens)
	s.says(`{"id":1,"connect":{"token":"user=u"}}`, `{"id":1,"connect":{"client":"me","version":"v"}}`)
	s.says(`{"id":2,"sub_refresh":{"channel":"$a","token":"user=u channel=$a"}}`, `{"id":2,"error":{"code":103,"message":"permission denied"}}`)
}

// While a token is being looked at nothing else is done, and then everything, in
// order.
func TestCostlyTokens(t *testing.T) {
	costly := func(r *Rules) { r.Tokens = fakeVerifier{costly: true} }
	s := newStage(t, costly)
	s.says("{\"id\":1,\"connect\":{\"token\":\"user=u\"}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n" +
		`{"id":3,"subscribe":{"channel":"$b","token":"user=u channel=$b"}}` + "\n" + `{"id":4,"ping":{}}`)
	s.says(`{"id":5,"subscribe":{"channel":"c"}}`)
	s.runWork()
	s.expect("work", `{"id":1,"connect":{"client":"me","version":"v"}}`, `{"id":2,"subscribe":{}}`, `{"id":3,"subscribe":{}}`,
		`{"id":4,"ping":{}}`, `{"id":5,"subscribe":{}}`)
	if s.account.held != nil || s.session.verifying {
		t.Errorf("messages are still held: %+v", s.account.held)
	}
	s.says(`{"id":6,"ping":{}}`, `{"id":6,"ping":{}}`)

	s = newStage(t, costly)
	s.says(`{"id":1,"connect":{"token":"nonsense"}}`)
	s.says(`{"id":2,"subscribe":{"channel":"a"}}`)
	s.runWork()
	s.expect("a bad token", "close 3500")

	s = newStage(t, costly)
	s.fail = errors.New("busy")
	s.says(`{"id":1,"connect":{"token":"user=u"}}`)
	s.runWork()
	s.expect("no worker", `{"id":1,"error":{"code":100,"message":"internal server error","temporary":true}}`)
	s.fail = nil
	s.says(`{"id":2,"connect":{"token":"user=u"}}` + "\nnonsense")
	s.runWork()
	s.expect("nonsense behind", `{"id":2,"connect":{"client":"me","version":"v"}}`, "close 3501")

	s = newStage(t, costly)
	s.says(`{"id":1,"connect":{"token":"expired"}}` + "\n" + `{"id":2,"connect":{"token":"user=u"}}` + "\n" + `{"id":3,"ping":{}}`)
	s.says(`{"id":4,"ping":{}}`)
	s.runWork()
	s.expect("a connect command behind one that is refused", `{"id":1,"error":{"code":109,"message":"token expired"}}`,
		`{"id":2,"connect":{"client":"me","version":"v"}}`, `{"id":3,"ping":{}}`, `{"id":4,"ping":{}}`)
}

func TestCommandRate(t *testing.T) {
	s := newStage(t, func(r *Rules) { r.CommandRate = 2 })
	s.says(`{"id":1,"connect":{}}`, `{"id":1,"connect":{"client":"me","version":"v"}}`)
	answers := func(n int) (answered, refused, closed int) {
		for range n {
			s.session.Handle(&s.rules, wire.JSON, s, []byte(`{"id":2,"ping":{}}`))
		}
		for _, line := range s.log {
			switch {
			case strings.Contains(line, `"ping"`):
				answered++
			case line == `{"id":2,"error":{"code":111,"message":"too many requests","temporary":true}}`:
				refused++
			case line == "close 3013":
				closed++
			}
		}
		s.log = nil
		return answered, refused, closed
	}
	// A second's worth, and one for each channel; connect is one of them.
	if a, r, c := answers(6); a != 4 || r != 2 || c != 0 {
		t.Errorf("%d answered, %d refused, %d closed; want 4, 2, 0", a, r, c)
	}
	s.now = s.now.Add(2 * time.Second)
	if a, r, c := answers(3); a != 2 || r != 1 || c != 0 {
		t.Errorf("two seconds later: %d answered, %d refused, %d closed; want 2, 1, 0", a, r, c)
	}
	s.now = s.now.Add(time.Minute)
	if a, _, _ := answers(5); a != 5 {
		t.Errorf("a minute later: %d answered, want 5", a)
	}
	if _, r, c := answers(5); r != 4 || c != 1 {
		t.Errorf("who goes on: %d refused, %d closed; want 4, 1", r, c)
	}
	// Answers to pings are no commands.
	s = newStage(t, func(r *Rules) { r.CommandRate = 1 })
	s.says(`{"id":1,"connect":{}}`, `{"id":1,"connect":{"client":"me","version":"v"}}`)
	for range 100 {
		s.session.Pinged()
		s.says("{}")
	}
}

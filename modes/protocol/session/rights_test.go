package session

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

const (
	connectOK = `{"id":1,"connect":{"client":"me","version":"v"}}`
	expiredA  = `{"push":{"channel":"$a","unsubscribe":{"code":2501,"reason":"subscription expired"}}}`
)

// expireWhenDue has the session look at what has expired by then, as an engine does:
// only if it is due.
func (s *stage) expireWhenDue(at int64) {
	s.now = time.Unix(at, 0)
	for !s.expireAt.IsZero() && !s.expireAt.After(s.now) {
		s.expireAt = time.Time{}
		s.session.Expire(&s.rules, s)
	}
}

// A private channel must not outlive the token that allows it.
func TestRightsEndWithTheirToken(t *testing.T) {
	connected := func(t *testing.T, token string) *stage {
		s := newStage(t, withTokens)
		s.says(fmt.Sprintf(`{"id":1,"connect":{"token":%q}}`, token),
			`{"id":1,"connect":{"client":"me","version":"v","expires":true,"ttl":2,"subs":{"$a":{"recoverable":true}}}}`)
		return s
	}
	refreshed := `{"id":2,"refresh":{"client":"me","version":"v","expires":true,"ttl":1000}}`
	refresh := func(channels string) string {
		return fmt.Sprintf(`{"id":2,"refresh":{"token":"user=u exp=2000%s"}}`, channels)
	}
	for name, c := range map[string]struct {
		do   func(s *stage)
		ends bool
	}{
		"a refresh that names none":  {func(s *stage) { s.says(refresh(""), expiredA, refreshed) }, true},
		"a refresh that names it":    {func(s *stage) { s.says(refresh(" channels=$b,$a"), refreshed) }, false},
		"a refresh that names other": {func(s *stage) { s.says(refresh(" channels=$b"), expiredA, refreshed) }, true},
		"a token of its own": {func(s *stage) {
			s.says(`{"id":3,"sub_refresh":{"channel":"$a","token":"user=u channel=$a"}}`, `{"id":3,"sub_refresh":{}}`)
			s.says(refresh(""), refreshed)
			s.expireWhenDue(1900)
		}, false},
		"a token of its own that has expired": {func(s *stage) {
			s.says(`{"id":3,"sub_refresh":{"channel":"$a","token":"user=u channel=$a exp=1010"}}`,
				`{"id":3,"sub_refresh":{"expires":true,"ttl":10}}`)
			s.says(refresh(""), refreshed)
			s.expireWhenDue(1014)
			s.expect("1014")
			s.expireWhenDue(1015)
			s.expect("1015", expiredA)
		}, true},
		"a token of its own that has expired, and a connection that names it": {func(s *stage) {
			s.says(`{"id":3,"sub_refresh":{"channel":"$a","token":"user=u channel=$a exp=1010"}}`,
				`{"id":3,"sub_refresh":{"expires":true,"ttl":10}}`)
			s.says(refresh(" channels=$a"), refreshed)
			s.expireWhenDue(1015)
			s.expect("1015")
			s.says(refresh(""), expiredA, `{"id":2,"refresh":{"client":"me","version":"v","expires":true,"ttl":985}}`)
		}, true},
		"left and joined again with a token of its own": {func(s *stage) {
			s.says(`{"id":3,"unsubscribe":{"channel":"$a"}}`, `{"id":3,"unsubscribe":{}}`)
			s.says(`{"id":4,"subscribe":{"channel":"$a","token":"user=u channel=$a"}}`, `{"id":4,"subscribe":{}}`)
			s.says(refresh(""), refreshed)
		}, false},
		"left": {func(s *stage) {
			s.says(`{"id":3,"unsubscribe":{"channel":"$a"}}`, `{"id":3,"unsubscribe":{}}`)
			s.says(refresh(""), refreshed)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := connected(t, "user=u exp=1002 channels=$a")
			c.do(s)
			_, has := s.subs["$a"]
			if has == c.ends {
				t.Errorf("subscribed: %v", has)
			}
			if has {
				s.says(`{"id":9,"publish":{"channel":"$a","data":1}}`, "publish $a 1", `{"id":9,"publish":{}}`)
			} else {
				s.says(`{"id":9,"publish":{"channel":"$a","data":1}}`, `{"id":9,"error":{"code":103,"message":"permission denied"}}`)
			}
		})
	}
	t.Run("public channels stay", func(t *testing.T) {
		s := newStage(t, withTokens)
		s.says(`{"id":1,"connect":{"token":"user=u channels=a"}}`,
			`{"id":1,"connect":{"client":"me","version":"v","subs":{"a":{"recoverable":true}}}}`)
		s.says(refresh(""), refreshed)
		if _, has := s.subs["a"]; !has {
			t.Error("a public channel ended with its token")
		}
	})
}

// A token that expires while Redis is being asked does not give more than one that
// expires later, and the token of a subscription that was left does not end the next.
func TestTokenExpiresWhileRedisIsAsked(t *testing.T) {
	s := delayed(t, withTokens)
	s.says(`{"id":2,"subscribe":{"channel":"$a","token":"user=u channel=$a exp=1002"}}`, "ask for $a")
	s.now = time.Unix(1100, 0)
	s.answer(nil)
	s.expect("Redis has answered", `{"id":2,"subscribe":{"expires":true,"ttl":1}}`)
	s.expireWhenDue(1100)
	s.expect("the token has expired", expiredA)

	s = delayed(t, withTokens)
	s.says(`{"id":2,"subscribe":{"channel":"$a","token":"user=u channel=$a exp=1002"}}`, "ask for $a")
	s.says(`{"id":3,"unsubscribe":{"channel":"$a"}}`)
	s.says(`{"id":4,"subscribe":{"channel":"$a","token":"user=u channel=$a exp=2000"}}`)
	s.answer(nil)
	s.expect("Redis has answered", `{"id":2,"subscribe":{"expires":true,"ttl":2}}`, unsubscribed(3), "ask for $a")
	s.expireWhenDue(1100)
	s.expect("the first token has expired")
	s.answer(nil)
	s.expect("Redis has answered", `{"id":4,"subscribe":{"expires":true,"ttl":900}}`)

	s = newStage(t, withTokens)
	s.delay = true
	s.says(`{"id":1,"connect":{"token":"user=u exp=1002 channels=$a"}}`, "ask for $a")
	s.expireWhenDue(1007)
	s.expect("the connection token has expired", "close 3005")
}

// A client whose token is not valid yet fetches another one; it must not be sent away.
func TestTokenNotYetValid(t *testing.T) {
	s := newStage(t, withTokens)
	s.says(`{"id":1,"connect":{"token":"early"}}`, `{"id":1,"error":{"code":109,"message":"token expired"}}`)
	s.says(`{"id":1,"connect":{"token":"user=u"}}`, connectOK)
	s.says(`{"id":2,"subscribe":{"channel":"$a","token":"early"}}`, `{"id":2,"error":{"code":109,"message":"token expired"}}`)
	s.says(`{"id":3,"subscribe":{"channel":"$a","token":"user=u channel=$a"}}`, `{"id":3,"subscribe":{}}`)
	s.says(`{"id":4,"sub_refresh":{"channel":"$a","token":"early"}}`, "close 3006")
	s.says(`{"id":5,"refresh":{"token":"early"}}`, "close 3005")
}

// A subscription that ends while its next token is being verified stays ended.
func TestSubscriptionEndsWhileItsTokenIsVerified(t *testing.T) {
	s := newStage(t, func(r *Rules) { r.Tokens = fakeVerifier{costly: true} })
	s.says(`{"id":1,"connect":{"token":"user=u"}}`)
	s.runWork()
	s.says(`{"id":2,"subscribe":{"channel":"$a","token":"user=u channel=$a exp=1002"}}`, connectOK)
	s.runWork()
	s.says(`{"id":3,"sub_refresh":{"channel":"$a","token":"user=u channel=$a"}}`, `{"id":2,"subscribe":{"expires":true,"ttl":2}}`)
	s.expireWhenDue(1007)
	s.expect("the token has expired", expiredA)
	s.runWork()
	s.expect("the next has been verified", `{"id":3,"error":{"code":103,"message":"permission denied"}}`)
	if len(s.account.own) != 0 {
		t.Error("the token of a subscription that has ended is kept")
	}
	s.fail = errors.New("busy")
	s.says(`{"id":4,"subscribe":{"channel":"$a","token":"user=u channel=$a"}}`)
	s.runWork()
	s.expect("no worker", `{"id":4,"error":{"code":100,"message":"internal server error","temporary":true}}`)
}

package handshake

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

type oneToken session.Claims

func (v oneToken) Verify(string) (session.Claims, error) { return session.Claims(v), nil }
func (oneToken) Costly() bool                            { return false }

// Setting the wall clock must not end raw connections, or keep them.
func TestAuthorizeMeasuresOnTheMonotonicClock(t *testing.T) {
	now := time.Now()
	rules := session.Rules{MaxChannels: 1, MaxChannelLength: 5, Tokens: oneToken{Expires: now.Unix() + 1000}}
	expires, refusal := Authorize(&rules, "channel=a&token=x", "", []string{"a"})
	if refusal != nil {
		t.Fatal(refusal)
	}
	if left := expires.Sub(now); left < 998*time.Second || left > 1001*time.Second || !strings.Contains(expires.String(), "m=") {
		t.Errorf("it expires at %v, in %v", expires, left)
	}
}

package enginetest

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func testTokenRaw(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	target := func(channel string, tokens ...string) string {
		return modes.PathRaw + "?" + url.Values{"channel": {channel}, "token": tokens}.Encode()
	}
	for name, c := range map[string]struct {
		target, bearer string
		status         int
	}{
		"no token":                 {target("a"), "", 401},
		"no token, private":        {target("$a"), "", 401},
		"nonsense":                 {target("a", "nonsense"), "", 401},
		"expired":                  {target("a", s.sign("exp", in(-1))), "", 401},
		"one of two is bad":        {target("a", s.sign(), "nonsense"), "", 401},
		"of two users":             {target("$a", s.sign("sub", "1"), s.sign("channel", "$a")), "", 401},
		"bound to a client":        {target("$a", s.sign("channel", "$a", "client", "c")), "", 401},
		"connection token, public": {target("a", s.sign()), "", 101},
		"bearer":                   {target("a"), s.sign(), 101},
		"bad bearer":               {target("a"), "nonsense", 401},
		"private, connection only": {target("$a", s.sign()), "", 403},
		"private, another's":       {target("$a", s.sign("channel", "$b")), "", 403},
		"private":                  {target("$a", s.sign("channel", "$a")), "", 101},
		"private, bearer":          {target("$a"), s.sign("channel", "$a"), 101},
		"private, both":            {target("$a", s.sign("channel", "$a")), s.sign(), 101},
		"private, by connection":   {target("$a", s.sign("channels", []string{"$a"})), "", 101},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if c.bearer != "" {
				headers = append(headers, "Authorization: Bearer "+c.bearer)
			}
			conn := n.dial(t)
			// What follows the handshake is not lost while the token is looked at.
			conn.write(append(upgrade(c.target, headers...).bytes(), encode(frame{op: 9, body: []byte("ahead")})...))
			if c.status != http.StatusSwitchingProtocols {
				conn.expectRefusal(c.status)
				return
			}
			conn.expectUpgrade("")
			conn.expect(frame{op: 10, body: []byte("ahead")})
		})
	}
	awaitCount(t, n.stats.Refused, handshake.RefusedNoToken.Reason, 2)
	awaitCount(t, n.stats.Refused, handshake.RefusedTokenExpired.Reason, 1)
	awaitCount(t, n.stats.Refused, handshake.RefusedPermission.Reason, 2)
}

func testTokenRawExpires(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	c := n.open(t, modes.PathRaw+"?channel=$a&token="+s.sign("channel", "$a", "exp", in(soon))+"&token="+s.sign("exp", in(1000)))
	c.expectClose(int(wire.DisconnectExpired.Code))
}

// Over plain HTTP tokens work as on the raw endpoint.
func testTokenStreams(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	for path, p := range streams {
		for token, status := range map[string]int{
			"": http.StatusUnauthorized, "nonsense": http.StatusUnauthorized, s.sign(): http.StatusForbidden,
			s.sign("channel", "$a"): http.StatusOK,
		} {
			byQuery, byHeader := n.dial(t), n.dial(t)
			target, headers := path+"?channel=$a", []string(nil)
			if token != "" {
				headers = append(headers, "Authorization: Bearer "+token)
			}
			byHeader.write(get(target, headers...).bytes())
			if token != "" {
				target += "&token=" + token
			}
			byQuery.write(get(target).bytes())
			for _, c := range []*client{byQuery, byHeader} {
				if status == http.StatusOK {
					c.expectStream(p)
					continue
				}
				c.expectRefusal(status)
			}
		}
	}
	c := n.openStream(t, modes.PathSSE+"?channel=$a&token="+s.sign("channel", "$a", "exp", in(soon)))
	c.expectStreamEnd(wire.DisconnectExpired)
}

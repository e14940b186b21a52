package enginetest

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func testTokenRaw(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
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
		"expired":                  {target("a", s.Sign("exp", kit.InSeconds(-1))), "", 401},
		"one of two is bad":        {target("a", s.Sign(), "nonsense"), "", 401},
		"of two users":             {target("$a", s.Sign("sub", "1"), s.Sign("channel", "$a")), "", 401},
		"bound to a client":        {target("$a", s.Sign("channel", "$a", "client", "c")), "", 401},
		"connection token, public": {target("a", s.Sign()), "", 101},
		"bearer":                   {target("a"), s.Sign(), 101},
		"bad bearer":               {target("a"), "nonsense", 401},
		"private, connection only": {target("$a", s.Sign()), "", 403},
		"private, another's":       {target("$a", s.Sign("channel", "$b")), "", 403},
		"private":                  {target("$a", s.Sign("channel", "$a")), "", 101},
		"private, bearer":          {target("$a"), s.Sign("channel", "$a"), 101},
		"private, both":            {target("$a", s.Sign("channel", "$a")), s.Sign(), 101},
		"private, by connection":   {target("$a", s.Sign("channels", []string{"$a"})), "", 101},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if c.bearer != "" {
				headers = append(headers, "Authorization: Bearer "+c.bearer)
			}
			conn := n.Dial(t)
			// What follows the handshake is not lost while the token is looked at.
			conn.Write(append(kit.Upgrade(c.target, headers...).Bytes(), kit.Encode(kit.Frame{Op: 9, Body: []byte("ahead")})...))
			if c.status != http.StatusSwitchingProtocols {
				conn.ExpectRefusal(c.status)
				return
			}
			conn.ExpectUpgrade("")
			conn.Expect(kit.Frame{Op: 10, Body: []byte("ahead")})
		})
	}
	// However a request is written, and wherever it stands, its token counts.
	bearer := "Authorization: Bearer " + s.Sign("channel", "$a")
	private := target("$a")
	for name, r := range map[string]kit.Request{
		"plain":                  kit.Upgrade(private, bearer),
		"two Connection headers": kit.Upgrade(private, bearer).With("Connection", "Connection: keep-alive", "Connection: Upgrade"),
		"expectation":            kit.Upgrade(private, bearer, "Expect: 100-continue"),
		"whole URL":              kit.Upgrade("http://tandem.test"+private, bearer),
		"no body":                kit.Upgrade(private, bearer, "Content-Length: 0"),
		"tab":                    kit.Upgrade(private, bearer).With("Upgrade", "Upgrade:\twebsocket"),
		"trailing space":         kit.Upgrade(private, bearer+" "),
	} {
		t.Run(name, func(t *testing.T) {
			for _, later := range []bool{false, true} {
				conn := n.Dial(t)
				if later {
					conn.Write(kit.Plain("GET", "").Bytes())
					conn.ExpectPlain("GET", "", "")
				}
				conn.Write(append(r.Bytes(), kit.Encode(kit.Frame{Op: 9, Body: []byte("ahead")})...))
				conn.ExpectUpgrade("")
				conn.Expect(kit.Frame{Op: 10, Body: []byte("ahead")})
			}
		})
	}
	kit.AwaitCount(t, n.Stats.Refused, handshake.RefusedNoToken.Reason, 2)
	kit.AwaitCount(t, n.Stats.Refused, handshake.RefusedTokenExpired.Reason, 1)
	kit.AwaitCount(t, n.Stats.Refused, handshake.RefusedPermission.Reason, 2)
}

func testTokenRawExpires(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	c := n.Open(t, modes.PathRaw+"?channel=$a&token="+s.Sign("channel", "$a", "exp", kit.InSeconds(kit.Soon))+"&token="+s.Sign("exp", kit.InSeconds(1000)))
	c.ExpectClose(int(wire.DisconnectExpired.Code))
}

// Over plain HTTP tokens work as on the raw endpoint.
func testTokenStreams(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	for path, p := range kit.Streams {
		for token, status := range map[string]int{
			"": http.StatusUnauthorized, "nonsense": http.StatusUnauthorized, s.Sign(): http.StatusForbidden,
			s.Sign("channel", "$a"): http.StatusOK,
		} {
			byQuery, byHeader := n.Dial(t), n.Dial(t)
			target, headers := path+"?channel=$a", []string(nil)
			if token != "" {
				headers = append(headers, "Authorization: Bearer "+token)
			}
			byHeader.Write(kit.Get(target, headers...).Bytes())
			if token != "" {
				target += "&token=" + token
			}
			byQuery.Write(kit.Get(target).Bytes())
			for _, c := range []*kit.Client{byQuery, byHeader} {
				if status == http.StatusOK {
					c.ExpectStream(p)
					continue
				}
				c.ExpectRefusal(status)
			}
		}
	}
	c := n.OpenStream(t, modes.PathSSE+"?channel=$a&token="+s.Sign("channel", "$a", "exp", kit.InSeconds(kit.Soon)))
	c.ExpectStreamEnd(wire.DisconnectExpired)
}

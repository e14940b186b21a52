package enginetest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/session"
	"github.com/tandem-ws/tandem/modes/token"
	"github.com/tandem-ws/tandem/modes/wire"
)

var tokenCases = []suiteCase{
	{"token/connect", eachKey(testTokenConnect)},
	{"token/private channels", eachKey(testTokenPrivate)},
	{"token/pipelined", eachKey(testTokenPipelined)},
	{"token/refresh", eachKey(testTokenRefresh)},
	{"token/connection expires", eachKey(testTokenExpires)},
	{"token/subscription expires", eachKey(testTokenSubExpires)},
	{"token/raw", eachKey(testTokenRaw)},
	{"token/raw expires", eachKey(testTokenRawExpires)},
	{"token/streams", eachKey(testTokenStreams)},
	{"token/server-side channels", eachKey(testTokenChannels)},
	{"command rate", testCommandRate},
}

// signer makes the tokens of a case.
type signer struct {
	t      tester
	method jwt.SigningMethod
	key    any
}

// eachKey runs a case with a secret, which engines verify on the spot, and with a
// public key, which they may not.
func eachKey(run func(*testing.T, Build, signer, func(*setup))) func(*testing.T, Build) {
	return func(t *testing.T, build Build) {
		const secret = "a secret of thirty-two bytes, ok"
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			signer
			token.Options
		}{
			"HS256": {signer{t, jwt.SigningMethodHS256, []byte(secret)}, token.Options{Secret: secret}},
			"EdDSA": {signer{t, jwt.SigningMethodEdDSA, private}, token.Options{PublicKeys: pemOf(t, public)}},
		} {
			t.Run(name, func(t *testing.T) {
				v, err := token.New(c.Options)
				if err != nil {
					t.Fatal(err)
				}
				c.t = t
				run(t, build, c.signer, func(s *setup) {
					s.rules.Tokens, s.rules.PrivatePrefix = v, "$"
				})
			})
		}
	}
}

func pemOf(t tester, key crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatalf("encode a key: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// sign makes a token of user 42 with more claims, in pairs of name and value.
func (s signer) sign(more ...any) string {
	s.t.Helper()
	claims := jwt.MapClaims{"sub": "42"}
	for i := 0; i < len(more); i += 2 {
		claims[more[i].(string)] = more[i+1]
	}
	text, err := jwt.NewWithClaims(s.method, claims).SignedString(s.key)
	if err != nil {
		s.t.Fatalf("sign a token: %v", err)
	}
	return text
}

// in is a time that many seconds from now, as tokens have it.
func in(seconds int64) int64 { return time.Now().Unix() + seconds }

// connectWith sends the connect command with a token and returns the reply.
func (c *client) connectWith(token string) *protocol.Reply {
	c.t.Helper()
	return c.call(&protocol.Command{Connect: &protocol.ConnectRequest{Token: token}})
}

// tokenSession opens a connection that is connected with this token.
func (n *node) tokenSession(t tester, token string) *client {
	t.Helper()
	c := n.open(t, modes.PathCentrifuge)
	if r := c.connectWith(token); r.Connect == nil {
		t.Fatalf("connect: got %s", show(r))
	}
	return c
}

func subscribeWith(channel, token string) *protocol.Command {
	return &protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: channel, Token: token}}
}

func testTokenConnect(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	for name, token := range map[string]string{
		"none": "", "nonsense": "nonsense", "another's": signer{t, jwt.SigningMethodHS256, []byte("guess")}.sign(),
		"unsigned": signer{t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType}.sign(), "of a channel": s.sign("channel", "$a"),
	} {
		t.Run(name, func(t *testing.T) {
			c := n.open(t, modes.PathCentrifuge)
			c.post(&protocol.Command{Connect: &protocol.ConnectRequest{Token: token}})
			c.expectClose(int(wire.DisconnectInvalidToken.Code))
		})
	}
	n.awaitDisconnects(t, wire.DisconnectInvalidToken.Reason, 5)
	c := n.open(t, modes.PathCentrifuge)
	if r := c.connectWith(s.sign("exp", in(-1))); r.GetError().GetCode() != 109 {
		t.Errorf("an expired token: got %s, want error 109", show(r))
	}
	awaitCount(t, n.stats.Refusals, wire.ErrorTokenExpired.Message, 1)
	if r := c.connectWith(s.sign("exp", in(1000))); r.Connect == nil || !r.Connect.Expires || r.Connect.Ttl < 900 || r.Connect.Ttl > 1000 {
		t.Errorf("a good token: got %s, want one that expires in 1000 s", show(r))
	}
	c.subscribe("news")
	if r := n.tokenSession(t, s.sign()); r == nil {
		t.Error("a token without end is refused")
	}
	protobuf := n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
	if r := protobuf.connectWith(s.sign("exp", in(1000))); r.Connect == nil || !r.Connect.Expires {
		t.Errorf("protobuf: got %s", show(r))
	}
}

func testTokenPrivate(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	c := n.tokenSession(t, s.sign())
	for name, token := range map[string]string{
		"none": "", "nonsense": "nonsense", "a connection's": s.sign(), "another channel's": s.sign("channel", "$b"),
		"another user's": s.sign("channel", "$a", "sub", "43"), "another client's": s.sign("channel", "$a", "client", session.NewID().String()),
	} {
		if r := c.call(subscribeWith("$a", token)); r.GetError().GetCode() != 103 {
			t.Errorf("token: %s: got %s, want error 103", name, show(r))
		}
	}
	c.expectError(c.post(subscribeWith("$a", s.sign("channel", "$a", "exp", in(-1)))), 109)
	if got := n.bus.references(); got != 0 {
		t.Errorf("Redis was asked for a channel that nobody may have: %d references", got)
	}
	if r := c.call(subscribeWith("$a", s.sign("channel", "$a"))); r.Subscribe == nil || r.Subscribe.Expires {
		t.Fatalf("a good token: got %s", show(r))
	}
	c.subscribe("public")
	n.bus.publish("$a", "1")
	c.expectPush("$a", "1")
	c.expectError(c.post(subscribeWith("$a", s.sign("channel", "$a"))), 105)
	other := n.open(t, modes.PathCentrifuge)
	r := other.call(&protocol.Command{Connect: &protocol.ConnectRequest{Token: s.sign(), Subs: map[string]*protocol.SubscribeRequest{"$a": {}}}})
	if r.GetError().GetCode() != 103 {
		t.Errorf("a private channel with the connect command: got %s, want error 103", show(r))
	}
}

// A client that does not wait for its answers gets them in order.
func testTokenPipelined(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	together(t, 20, func(t tester, _ int) {
		c := n.open(t, modes.PathCentrifuge)
		var ids []uint32
		ids = append(ids, c.post(&protocol.Command{Connect: &protocol.ConnectRequest{Token: s.sign()}}))
		for i := range 5 {
			channel := "$" + strconv.Itoa(i)
			ids = append(ids, c.post(subscribeWith(channel, s.sign("channel", channel))),
				c.post(&protocol.Command{Ping: &protocol.PingRequest{}}))
		}
		seen := map[uint32]bool{}
		for range ids {
			r := c.next()
			if r.Error != nil || r.Id == 0 || seen[r.Id] {
				t.Fatalf("got %s", show(r))
			}
			seen[r.Id] = true
			if len(seen) == 1 && r.Id != ids[0] {
				t.Fatalf("got %s, want the connect reply first", show(r))
			}
		}
	})
	// Who goes away meanwhile leaves nothing behind, which start checks.
	for range 20 {
		c := n.open(t, modes.PathCentrifuge)
		c.post(&protocol.Command{Connect: &protocol.ConnectRequest{Token: s.sign()}})
		c.post(subscribeWith("$a", s.sign("channel", "$a", "exp", in(1000))))
		c.reset()
	}
}

func testTokenRefresh(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	c := n.tokenSession(t, s.sign("exp", in(4)))
	if r := c.call(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: s.sign("exp", in(1000))}}); r.Refresh == nil || r.Refresh.Ttl < 900 {
		t.Fatalf("refresh: got %s", show(r))
	}
	if r := c.call(subscribeWith("$a", s.sign("channel", "$a", "exp", in(4)))); r.Subscribe == nil || r.Subscribe.Ttl == 0 || r.Subscribe.Ttl > 4 {
		t.Fatalf("subscribe: got %s", show(r))
	}
	if r := c.call(&protocol.Command{SubRefresh: &protocol.SubRefreshRequest{Channel: "$a", Token: s.sign("channel", "$a", "exp", in(1000))}}); r.SubRefresh == nil || r.SubRefresh.Ttl < 900 {
		t.Fatalf("sub_refresh: got %s", show(r))
	}
	// One that came later and was not refreshed shows that the time is over.
	witness := n.tokenSession(t, s.sign("exp", in(6)))
	witness.expectClose(int(wire.DisconnectExpired.Code))
	n.bus.publish("$a", "1")
	c.expectPush("$a", "1")

	c.post(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: s.sign("exp", in(-1))}})
	c.expectClose(int(wire.DisconnectExpired.Code))
	c = n.tokenSession(t, s.sign("exp", in(1000)))
	c.post(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: s.sign("sub", "43")}})
	c.expectClose(int(wire.DisconnectInvalidToken.Code))
}

func testTokenExpires(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	together(t, 10, func(t tester, i int) {
		c := n.tokenSession(t, s.sign("exp", in(4)))
		if i%2 == 0 {
			c.subscribe("news")
		}
		c.expectClose(int(wire.DisconnectExpired.Code))
	})
	n.awaitDisconnects(t, wire.DisconnectExpired.Reason, 10)
}

// The subscription ends with a code on which SDKs subscribe again; the connection
// goes on.
func testTokenSubExpires(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	c := n.tokenSession(t, s.sign())
	for i, channel := range []string{"$a", "$b"} {
		if r := c.call(subscribeWith(channel, s.sign("channel", channel, "exp", in(4+1000*int64(i))))); r.Subscribe == nil {
			t.Fatalf("subscribe: got %s", show(r))
		}
	}
	r := c.next()
	if u := r.GetPush().GetUnsubscribe(); r.GetPush().GetChannel() != "$a" || u.GetCode() != 2501 || u.GetReason() != "subscription expired" {
		t.Fatalf("got %s, want the end of $a", show(r))
	}
	n.bus.publish("$a", "1")
	n.bus.flush()
	n.bus.publish("$b", "2")
	c.expectPush("$b", "2")
	if r := c.call(subscribeWith("$a", s.sign("channel", "$a"))); r.Subscribe == nil {
		t.Errorf("subscribe again: got %s", show(r))
	}
}

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
	awaitCount(t, n.stats.Refused, modes.RefusedNoToken.Reason, 2)
	awaitCount(t, n.stats.Refused, modes.RefusedTokenExpired.Reason, 1)
	awaitCount(t, n.stats.Refused, modes.RefusedPermission.Reason, 2)
}

func testTokenRawExpires(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	c := n.open(t, modes.PathRaw+"?channel=$a&token="+s.sign("channel", "$a", "exp", in(4))+"&token="+s.sign("exp", in(1000)))
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
	c := n.openStream(t, modes.PathSSE+"?channel=$a&token="+s.sign("channel", "$a", "exp", in(4)))
	c.expectStreamEnd(wire.DisconnectExpired)
}

// The channels that a connection token names are the server's to subscribe to.
func testTokenChannels(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	c := n.open(t, modes.PathCentrifuge)
	r := c.connectWith(s.sign("channels", []string{"$mine", "news"}))
	if r.Connect == nil || len(r.Connect.Subs) != 2 {
		t.Fatalf("connect: got %s", show(r))
	}
	for i, channel := range []string{"$mine", "news"} {
		n.bus.publish(channel, fmt.Sprint(i))
		c.expectPush(channel, fmt.Sprint(i))
	}
	n.bus.lost("$mine")
	c.expectClose(int(wire.DisconnectInsufficient.Code))
}

// Who sends more commands than it may is told so, and shown out if it goes on.
func testCommandRate(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.rules.CommandRate, s.rules.MaxChannels = 1, 20 })
	polite, flood := n.session(t), n.session(t)
	for i := range 19 {
		polite.subscribe(strconv.Itoa(i))
	}
	var commands []frame
	for i := range 100 {
		commands = append(commands, flood.encode(&protocol.Command{Id: uint32(i + 2), Ping: &protocol.PingRequest{}}))
	}
	flood.send(commands...)
	answered, refused := 0, 0
	for _, message := range flood.expectCloseLater(int(wire.DisconnectTooManyRequests.Code)) {
		replies, err := decode(flood.protocol, message)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range replies {
			switch {
			case r.Ping != nil && refused == 0:
				answered++
			case r.GetError().GetCode() == 111 && r.Error.Temporary:
				refused++
			case r.Ping == nil:
				t.Fatalf("got %s", show(r))
			}
		}
	}
	// The second may have turned meanwhile.
	if answered < 20 || answered > 30 || refused < 15 {
		t.Errorf("%d commands were answered and %d refused", answered, refused)
	}
	awaitCount(t, n.stats.Refusals, wire.ErrorTooManyRequests.Message, refused)
	n.awaitDisconnects(t, wire.DisconnectTooManyRequests.Reason, 1)
	n.bus.publish("0", "1")
	polite.expectPush("0", "1")
}

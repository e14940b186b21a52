package enginetest

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/centrifugal/protocol"
	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
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
	// A client that leaves meanwhile leaves nothing behind; Start checks that.
	for range 20 {
		c := n.open(t, modes.PathCentrifuge)
		c.post(&protocol.Command{Connect: &protocol.ConnectRequest{Token: s.sign()}})
		c.post(subscribeWith("$a", s.sign("channel", "$a", "exp", in(1000))))
		c.reset()
	}
}

func testTokenRefresh(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	c := n.tokenSession(t, s.sign("exp", in(soon)))
	if r := c.call(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: s.sign("exp", in(1000))}}); r.Refresh == nil || r.Refresh.Ttl < 900 {
		t.Fatalf("refresh: got %s", show(r))
	}
	if r := c.call(subscribeWith("$a", s.sign("channel", "$a", "exp", in(soon)))); r.Subscribe == nil || r.Subscribe.Ttl == 0 || r.Subscribe.Ttl > soon {
		t.Fatalf("subscribe: got %s", show(r))
	}
	if r := c.call(&protocol.Command{SubRefresh: &protocol.SubRefreshRequest{Channel: "$a", Token: s.sign("channel", "$a", "exp", in(1000))}}); r.SubRefresh == nil || r.SubRefresh.Ttl < 900 {
		t.Fatalf("sub_refresh: got %s", show(r))
	}
	// One that came later and was not refreshed shows that the time is over.
	witness := n.tokenSession(t, s.sign("exp", in(soon+2)))
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
		c := n.tokenSession(t, s.sign("exp", in(soon)))
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
		if r := c.call(subscribeWith(channel, s.sign("channel", channel, "exp", in(soon+1000*int64(i))))); r.Subscribe == nil {
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

package enginetest

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/centrifugal/protocol"
	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var tokenCases = []suiteCase{
	{"token/connect", kit.EachKey(testTokenConnect)},
	{"token/private channels", kit.EachKey(testTokenPrivate)},
	{"token/pipelined", kit.EachKey(testTokenPipelined)},
	{"token/refresh", kit.EachKey(testTokenRefresh)},
	{"token/connection expires", kit.EachKey(testTokenExpires)},
	{"token/subscription expires", kit.EachKey(testTokenSubExpires)},
	{"token/raw", kit.EachKey(testTokenRaw)},
	{"token/raw expires", kit.EachKey(testTokenRawExpires)},
	{"token/streams", kit.EachKey(testTokenStreams)},
	{"token/server-side channels", kit.EachKey(testTokenChannels)},
	{"command rate", testCommandRate},
}

func subscribeWith(channel, token string) *protocol.Command {
	return &protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: channel, Token: token}}
}

func testTokenConnect(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	for name, token := range map[string]string{
		"none": "", "nonsense": "nonsense", "another's": kit.Signer{T: t, Method: jwt.SigningMethodHS256, Key: []byte("guess")}.Sign(),
		"unsigned": kit.Signer{T: t, Method: jwt.SigningMethodNone, Key: jwt.UnsafeAllowNoneSignatureType}.Sign(), "of a channel": s.Sign("channel", "$a"),
	} {
		t.Run(name, func(t *testing.T) {
			c := n.Open(t, modes.PathCentrifuge)
			c.Post(&protocol.Command{Connect: &protocol.ConnectRequest{Token: token}})
			c.ExpectClose(int(wire.DisconnectInvalidToken.Code))
		})
	}
	n.AwaitDisconnects(t, wire.DisconnectInvalidToken.Reason, 5)
	c := n.Open(t, modes.PathCentrifuge)
	if r := c.ConnectWith(s.Sign("exp", kit.InSeconds(-1))); r.GetError().GetCode() != 109 {
		t.Errorf("an expired token: got %s, want error 109", kit.Show(r))
	}
	kit.AwaitCount(t, n.Stats.Refusals, wire.ErrorTokenExpired.Message, 1)
	if r := c.ConnectWith(s.Sign("exp", kit.InSeconds(1000))); r.Connect == nil || !r.Connect.Expires || r.Connect.Ttl < 900 || r.Connect.Ttl > 1000 {
		t.Errorf("a good token: got %s, want one that expires in 1000 s", kit.Show(r))
	}
	c.Subscribe("news")
	if r := n.TokenSession(t, s.Sign()); r == nil {
		t.Error("a token without end is refused")
	}
	protobuf := n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
	if r := protobuf.ConnectWith(s.Sign("exp", kit.InSeconds(1000))); r.Connect == nil || !r.Connect.Expires {
		t.Errorf("protobuf: got %s", kit.Show(r))
	}
}

func testTokenPrivate(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	c := n.TokenSession(t, s.Sign())
	for name, token := range map[string]string{
		"none": "", "nonsense": "nonsense", "a connection's": s.Sign(), "another channel's": s.Sign("channel", "$b"),
		"another user's": s.Sign("channel", "$a", "sub", "43"), "another client's": s.Sign("channel", "$a", "client", session.NewID().String()),
	} {
		if r := c.Call(subscribeWith("$a", token)); r.GetError().GetCode() != 103 {
			t.Errorf("token: %s: got %s, want error 103", name, kit.Show(r))
		}
	}
	c.ExpectError(c.Post(subscribeWith("$a", s.Sign("channel", "$a", "exp", kit.InSeconds(-1)))), 109)
	if got := n.Bus.References(); got != 0 {
		t.Errorf("Redis was asked for a channel that nobody may have: %d references", got)
	}
	if r := c.Call(subscribeWith("$a", s.Sign("channel", "$a"))); r.Subscribe == nil || r.Subscribe.Expires {
		t.Fatalf("a good token: got %s", kit.Show(r))
	}
	c.Subscribe("public")
	n.Bus.Send("$a", "1")
	c.ExpectPush("$a", "1")
	c.ExpectError(c.Post(subscribeWith("$a", s.Sign("channel", "$a"))), 105)
	other := n.Open(t, modes.PathCentrifuge)
	r := other.Call(&protocol.Command{Connect: &protocol.ConnectRequest{Token: s.Sign(), Subs: map[string]*protocol.SubscribeRequest{"$a": {}}}})
	if r.GetError().GetCode() != 103 {
		t.Errorf("a private channel with the connect command: got %s, want error 103", kit.Show(r))
	}
}

// A client that does not wait for its answers gets them in order.
func testTokenPipelined(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	kit.Together(t, 20, func(t kit.Tester, _ int) {
		c := n.Open(t, modes.PathCentrifuge)
		var ids []uint32
		ids = append(ids, c.Post(&protocol.Command{Connect: &protocol.ConnectRequest{Token: s.Sign()}}))
		for i := range 5 {
			channel := "$" + strconv.Itoa(i)
			ids = append(ids, c.Post(subscribeWith(channel, s.Sign("channel", channel))),
				c.Post(&protocol.Command{Ping: &protocol.PingRequest{}}))
		}
		seen := map[uint32]bool{}
		for range ids {
			r := c.Next()
			if r.Error != nil || r.Id == 0 || seen[r.Id] {
				t.Fatalf("got %s", kit.Show(r))
			}
			seen[r.Id] = true
			if len(seen) == 1 && r.Id != ids[0] {
				t.Fatalf("got %s, want the connect reply first", kit.Show(r))
			}
		}
	})
	// A client that leaves meanwhile leaves nothing behind; Start checks that.
	for range 20 {
		c := n.Open(t, modes.PathCentrifuge)
		c.Post(&protocol.Command{Connect: &protocol.ConnectRequest{Token: s.Sign()}})
		c.Post(subscribeWith("$a", s.Sign("channel", "$a", "exp", kit.InSeconds(1000))))
		c.Reset()
	}
}

func testTokenRefresh(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	c := n.TokenSession(t, s.Sign("exp", kit.InSeconds(kit.Soon)))
	if r := c.Call(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: s.Sign("exp", kit.InSeconds(1000))}}); r.Refresh == nil || r.Refresh.Ttl < 900 {
		t.Fatalf("refresh: got %s", kit.Show(r))
	}
	if r := c.Call(subscribeWith("$a", s.Sign("channel", "$a", "exp", kit.InSeconds(kit.Soon)))); r.Subscribe == nil || r.Subscribe.Ttl == 0 || r.Subscribe.Ttl > kit.Soon {
		t.Fatalf("subscribe: got %s", kit.Show(r))
	}
	if r := c.Call(&protocol.Command{SubRefresh: &protocol.SubRefreshRequest{Channel: "$a", Token: s.Sign("channel", "$a", "exp", kit.InSeconds(1000))}}); r.SubRefresh == nil || r.SubRefresh.Ttl < 900 {
		t.Fatalf("sub_refresh: got %s", kit.Show(r))
	}
	// One that came later and was not refreshed shows that the time is over.
	witness := n.TokenSession(t, s.Sign("exp", kit.InSeconds(kit.Soon+2)))
	witness.ExpectClose(int(wire.DisconnectExpired.Code))
	n.Bus.Send("$a", "1")
	c.ExpectPush("$a", "1")

	c.Post(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: s.Sign("exp", kit.InSeconds(-1))}})
	c.ExpectClose(int(wire.DisconnectExpired.Code))
	c = n.TokenSession(t, s.Sign("exp", kit.InSeconds(1000)))
	c.Post(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: s.Sign("sub", "43")}})
	c.ExpectClose(int(wire.DisconnectInvalidToken.Code))
}

func testTokenExpires(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	kit.Together(t, 10, func(t kit.Tester, i int) {
		c := n.TokenSession(t, s.Sign("exp", kit.InSeconds(kit.Soon)))
		if i%2 == 0 {
			c.Subscribe("news")
		}
		c.ExpectClose(int(wire.DisconnectExpired.Code))
	})
	n.AwaitDisconnects(t, wire.DisconnectExpired.Reason, 10)
}

// The subscription ends with a code on which SDKs subscribe again; the connection
// goes on.
func testTokenSubExpires(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	c := n.TokenSession(t, s.Sign())
	for i, channel := range []string{"$a", "$b"} {
		if r := c.Call(subscribeWith(channel, s.Sign("channel", channel, "exp", kit.InSeconds(kit.Soon+1000*int64(i))))); r.Subscribe == nil {
			t.Fatalf("subscribe: got %s", kit.Show(r))
		}
	}
	r := c.Next()
	if u := r.GetPush().GetUnsubscribe(); r.GetPush().GetChannel() != "$a" || u.GetCode() != 2501 || u.GetReason() != "subscription expired" {
		t.Fatalf("got %s, want the end of $a", kit.Show(r))
	}
	n.Bus.Send("$a", "1")
	n.Bus.Flush()
	n.Bus.Send("$b", "2")
	c.ExpectPush("$b", "2")
	if r := c.Call(subscribeWith("$a", s.Sign("channel", "$a"))); r.Subscribe == nil {
		t.Errorf("subscribe again: got %s", kit.Show(r))
	}
}

// The channels that a connection token names are the server's to subscribe to.
func testTokenChannels(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	c := n.Open(t, modes.PathCentrifuge)
	r := c.ConnectWith(s.Sign("channels", []string{"$mine", "news"}))
	if r.Connect == nil || len(r.Connect.Subs) != 2 {
		t.Fatalf("connect: got %s", kit.Show(r))
	}
	for i, channel := range []string{"$mine", "news"} {
		n.Bus.Send(channel, fmt.Sprint(i))
		c.ExpectPush(channel, fmt.Sprint(i))
	}
	n.Bus.Lost("$mine")
	c.ExpectClose(int(wire.DisconnectInsufficient.Code))
}

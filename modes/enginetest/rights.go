package enginetest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var rightsCases = []suiteCase{
	{"token/refresh names fewer channels", kit.EachKey(testRefreshNamesFewer)},
	{"token/not yet valid", kit.EachKey(testTokenNotYetValid)},
	{"token/reconnect with all channels", kit.EachKey(testReconnectWithAllChannels)},
	{"token/held messages", kit.EachKey(testHeldMessages)},
	{"session/commands of a message", testCommandsOfAMessage},
}

// A private channel that came with the connection token ends when a refresh no longer
// names it.
func testRefreshNamesFewer(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	c := n.Open(t, modes.PathCentrifuge)
	r := c.ConnectWith(s.Sign("exp", kit.InSeconds(1000), "channels", []string{"$ends", "$named", "$own", "public"}))
	if r.Connect == nil || len(r.Connect.Subs) != 4 {
		t.Fatalf("connect: got %s", kit.Show(r))
	}
	own := &protocol.Command{SubRefresh: &protocol.SubRefreshRequest{Channel: "$own", Token: s.Sign("channel", "$own")}}
	if r := c.Call(own); r.SubRefresh == nil {
		t.Fatalf("sub_refresh: got %s", kit.Show(r))
	}
	id := c.Post(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: s.Sign("exp", kit.InSeconds(1000), "channels", []string{"$named"})}})
	if r := c.Reply(id); r.Refresh == nil {
		t.Fatalf("refresh: got %s", kit.Show(r))
	}
	if r := c.Next(); r.GetPush().GetChannel() != "$ends" || r.Push.GetUnsubscribe().GetCode() != 2501 {
		t.Fatalf("got %s, want the end of $ends", kit.Show(r))
	}
	n.Bus.Send("$ends", "0")
	n.Bus.Flush()
	for i, channel := range []string{"$named", "$own", "public"} {
		n.Bus.Send(channel, fmt.Sprint(i))
		c.ExpectPush(channel, fmt.Sprint(i))
	}
	if r := c.Call(subscribeWith("$ends", "")); r.GetError().GetCode() != 103 {
		t.Errorf("subscribe to $ends without a token: got %s, want error 103", kit.Show(r))
	}
}

// A client whose token is early fetches another one. A little is accepted, because
// clocks differ.
func testTokenNotYetValid(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	for _, claim := range []string{"nbf", "iat"} {
		early := func(more ...any) string { return s.Sign(append(more, claim, kit.InSeconds(1000))...) }
		c := n.Open(t, modes.PathCentrifuge)
		if r := c.ConnectWith(early()); r.GetError().GetCode() != 109 {
			t.Fatalf("%s: connect: got %s, want error 109", claim, kit.Show(r))
		}
		if r := c.ConnectWith(s.Sign(claim, kit.InSeconds(20))); r.Connect == nil {
			t.Fatalf("%s a moment ahead: connect: got %s", claim, kit.Show(r))
		}
		if r := c.Call(subscribeWith("$a", early("channel", "$a"))); r.GetError().GetCode() != 109 {
			t.Errorf("%s: subscribe: got %s, want error 109", claim, kit.Show(r))
		}
		if r := c.Call(subscribeWith("$a", s.Sign("channel", "$a", claim, kit.InSeconds(20)))); r.Subscribe == nil {
			t.Errorf("%s a moment ahead: subscribe: got %s", claim, kit.Show(r))
		}
		c.Post(&protocol.Command{SubRefresh: &protocol.SubRefreshRequest{Channel: "$a", Token: early("channel", "$a")}})
		c.ExpectClose(int(wire.DisconnectSubExpired.Code))
		c = n.TokenSession(t, s.Sign())
		c.Post(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: early()}})
		c.ExpectClose(int(wire.DisconnectExpired.Code))

		query := "?" + url.Values{"channel": {"a"}, "token": {early()}}.Encode()
		c = n.Dial(t)
		c.Write(kit.Upgrade(modes.PathRaw + query).Bytes())
		c.ExpectRefusal(http.StatusUnauthorized)
		for path := range kit.Streams {
			c := n.Dial(t)
			c.Write(kit.Get(path + query).Bytes())
			c.ExpectRefusal(http.StatusUnauthorized)
		}
	}
}

// An SDK that comes back subscribes to all its channels in one message.
func testReconnectWithAllChannels(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	channels := 0
	n := kit.Start(t, build, func(s *kit.Setup) {
		tokens(s)
		s.Limits.MaxMessageSize, s.Rules.CommandRate = 256<<10, 1000 // the defaults
		channels = s.Rules.MaxChannels
	})
	c := n.TokenSession(t, s.Sign())
	var lines [][]byte
	for i := range channels {
		channel := fmt.Sprintf("$%s%d", strings.Repeat("x", 240), i)
		c.LastID++
		lines = append(lines, c.Encode(&protocol.Command{Id: c.LastID, Subscribe: &protocol.SubscribeRequest{
			Channel: channel, Token: s.Sign("channel", channel, "padding", strings.Repeat("x", 100))}}).Body)
	}
	c.Send(kit.Frame{Op: ws.OpText, Body: bytes.Join(lines, []byte("\n"))})
	for range lines {
		if r := c.Next(); r.Subscribe == nil {
			t.Fatalf("got %s, want a subscribe reply", kit.Show(r))
		}
	}
}

// What a client sends before its token is verified has a bound, empty messages too.
func testHeldMessages(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	kit.Together(t, 2, func(t kit.Tester, _ int) {
		c := n.Open(t, modes.PathCentrifuge)
		connect := c.Encode(&protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{Token: s.Sign()}})
		frames := []kit.Frame{connect}
		for range 70_000 {
			frames = append(frames, kit.Frame{Op: ws.OpText})
		}
		// It is closed while it sends.
		if err := c.TryWrite(kit.Encode(frames...)); err != nil && !kit.Ended(err) {
			t.Fatalf("write: %v", err)
		}
		for {
			f, err := c.TryFrame()
			if err != nil {
				if !kit.Ended(err) {
					t.Fatalf("read: %v", err)
				}
				return
			}
			if code := kit.CloseCode(f); f.Op == ws.OpClose && code != 3013 && code != 3501 {
				t.Fatalf("got %s, want close code 3013 or 3501", kit.CloseText(f))
			}
		}
	})
}

// A message may hold as many commands as a client needs to come back with all its
// channels, and not many times that, however small they are.
func testCommandsOfAMessage(t *testing.T, build kit.Build) {
	most := 0
	n := kit.Start(t, build, func(s *kit.Setup) { s.Compression, most = true, s.Rules.MaxCommands() })
	pings := func(n int) []byte {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, "{\"id\":%d,\"ping\":{}}\n", i+2)
		}
		return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
	c := n.Session(t)
	c.Send(kit.Frame{Op: ws.OpText, Body: pings(most)})
	for i := range most {
		if r := c.Next(); r.Ping == nil {
			t.Fatalf("command %d: got %s", i, kit.Show(r))
		}
	}
	c.Send(kit.Frame{Op: ws.OpText, Body: pings(most + 1)})
	c.ExpectClose(int(wire.DisconnectTooManyRequests.Code))
	c = n.OpenDeflate(t, modes.PathCentrifuge)
	c.Connect()
	c.Send(kit.Compressed(ws.OpText, pings(most+1)))
	c.ExpectClose(int(wire.DisconnectTooManyRequests.Code))
	c = n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
	c.Connect()
	var body []byte
	for range most + 1 {
		body = append(body, c.Encode(&protocol.Command{Id: 2, Ping: &protocol.PingRequest{}}).Body...)
	}
	c.Send(kit.Frame{Op: ws.OpBinary, Body: body})
	c.ExpectClose(int(wire.DisconnectTooManyRequests.Code))
}

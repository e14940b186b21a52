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
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var rightsCases = []suiteCase{
	{"token/refresh names fewer channels", eachKey(testRefreshNamesFewer)},
	{"token/not yet valid", eachKey(testTokenNotYetValid)},
	{"token/reconnect with all channels", eachKey(testReconnectWithAllChannels)},
	{"token/held messages", eachKey(testHeldMessages)},
	{"session/commands of a message", testCommandsOfAMessage},
}

// A private channel that came with the connection token ends when a refresh no longer
// names it.
func testRefreshNamesFewer(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	c := n.open(t, modes.PathCentrifuge)
	r := c.connectWith(s.sign("exp", in(1000), "channels", []string{"$ends", "$named", "$own", "public"}))
	if r.Connect == nil || len(r.Connect.Subs) != 4 {
		t.Fatalf("connect: got %s", show(r))
	}
	own := &protocol.Command{SubRefresh: &protocol.SubRefreshRequest{Channel: "$own", Token: s.sign("channel", "$own")}}
	if r := c.call(own); r.SubRefresh == nil {
		t.Fatalf("sub_refresh: got %s", show(r))
	}
	id := c.post(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: s.sign("exp", in(1000), "channels", []string{"$named"})}})
	if r := c.reply(id); r.Refresh == nil {
		t.Fatalf("refresh: got %s", show(r))
	}
	if r := c.next(); r.GetPush().GetChannel() != "$ends" || r.Push.GetUnsubscribe().GetCode() != 2501 {
		t.Fatalf("got %s, want the end of $ends", show(r))
	}
	n.bus.publish("$ends", "0")
	n.bus.flush()
	for i, channel := range []string{"$named", "$own", "public"} {
		n.bus.publish(channel, fmt.Sprint(i))
		c.expectPush(channel, fmt.Sprint(i))
	}
	if r := c.call(subscribeWith("$ends", "")); r.GetError().GetCode() != 103 {
		t.Errorf("subscribe to $ends without a token: got %s, want error 103", show(r))
	}
}

// A client whose token is early fetches another one. A little is accepted, because
// clocks differ.
func testTokenNotYetValid(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	for _, claim := range []string{"nbf", "iat"} {
		early := func(more ...any) string { return s.sign(append(more, claim, in(1000))...) }
		c := n.open(t, modes.PathCentrifuge)
		if r := c.connectWith(early()); r.GetError().GetCode() != 109 {
			t.Fatalf("%s: connect: got %s, want error 109", claim, show(r))
		}
		if r := c.connectWith(s.sign(claim, in(20))); r.Connect == nil {
			t.Fatalf("%s a moment ahead: connect: got %s", claim, show(r))
		}
		if r := c.call(subscribeWith("$a", early("channel", "$a"))); r.GetError().GetCode() != 109 {
			t.Errorf("%s: subscribe: got %s, want error 109", claim, show(r))
		}
		if r := c.call(subscribeWith("$a", s.sign("channel", "$a", claim, in(20)))); r.Subscribe == nil {
			t.Errorf("%s a moment ahead: subscribe: got %s", claim, show(r))
		}
		c.post(&protocol.Command{SubRefresh: &protocol.SubRefreshRequest{Channel: "$a", Token: early("channel", "$a")}})
		c.expectClose(int(wire.DisconnectSubExpired.Code))
		c = n.tokenSession(t, s.sign())
		c.post(&protocol.Command{Refresh: &protocol.RefreshRequest{Token: early()}})
		c.expectClose(int(wire.DisconnectExpired.Code))

		query := "?" + url.Values{"channel": {"a"}, "token": {early()}}.Encode()
		c = n.dial(t)
		c.write(upgrade(modes.PathRaw + query).bytes())
		c.expectRefusal(http.StatusUnauthorized)
		for path := range streams {
			c := n.dial(t)
			c.write(get(path + query).bytes())
			c.expectRefusal(http.StatusUnauthorized)
		}
	}
}

// An SDK that comes back subscribes to all its channels in one message.
func testReconnectWithAllChannels(t *testing.T, build Build, s signer, tokens func(*setup)) {
	channels := 0
	n := start(t, build, func(s *setup) {
		tokens(s)
		s.limits.MaxMessageSize, s.rules.CommandRate = 256<<10, 1000 // the defaults
		channels = s.rules.MaxChannels
	})
	c := n.tokenSession(t, s.sign())
	var lines [][]byte
	for i := range channels {
		channel := fmt.Sprintf("$%s%d", strings.Repeat("x", 240), i)
		c.lastID++
		lines = append(lines, c.encode(&protocol.Command{Id: c.lastID, Subscribe: &protocol.SubscribeRequest{
			Channel: channel, Token: s.sign("channel", channel, "padding", strings.Repeat("x", 100))}}).body)
	}
	c.send(frame{op: ws.OpText, body: bytes.Join(lines, []byte("\n"))})
	for range lines {
		if r := c.next(); r.Subscribe == nil {
			t.Fatalf("got %s, want a subscribe reply", show(r))
		}
	}
}

// What a client sends before its token is verified has a bound, empty messages too.
func testHeldMessages(t *testing.T, build Build, s signer, tokens func(*setup)) {
	n := start(t, build, tokens)
	together(t, 2, func(t tester, _ int) {
		c := n.open(t, modes.PathCentrifuge)
		connect := c.encode(&protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{Token: s.sign()}})
		frames := []frame{connect}
		for range 70_000 {
			frames = append(frames, frame{op: ws.OpText})
		}
		// It is closed while it sends.
		if err := c.tryWrite(encode(frames...)); err != nil && !ended(err) {
			t.Fatalf("write: %v", err)
		}
		for {
			f, err := c.tryFrame()
			if err != nil {
				if !ended(err) {
					t.Fatalf("read: %v", err)
				}
				return
			}
			if code := closeCode(f); f.op == ws.OpClose && code != 3013 && code != 3501 {
				t.Fatalf("got %s, want close code 3013 or 3501", closeText(f))
			}
		}
	})
}

// A message may hold as many commands as a client needs to come back with all its
// channels, and not many times that, however small they are.
func testCommandsOfAMessage(t *testing.T, build Build) {
	most := 0
	n := start(t, build, func(s *setup) { s.compression, most = true, s.rules.MaxCommands() })
	pings := func(n int) []byte {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, "{\"id\":%d,\"ping\":{}}\n", i+2)
		}
		return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
	c := n.session(t)
	c.send(frame{op: ws.OpText, body: pings(most)})
	for i := range most {
		if r := c.next(); r.Ping == nil {
			t.Fatalf("command %d: got %s", i, show(r))
		}
	}
	c.send(frame{op: ws.OpText, body: pings(most + 1)})
	c.expectClose(int(wire.DisconnectTooManyRequests.Code))
	c = n.openDeflate(t, modes.PathCentrifuge)
	c.connect()
	c.send(compressed(ws.OpText, pings(most+1)))
	c.expectClose(int(wire.DisconnectTooManyRequests.Code))
	c = n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
	c.connect()
	var body []byte
	for range most + 1 {
		body = append(body, c.encode(&protocol.Command{Id: 2, Ping: &protocol.PingRequest{}}).body...)
	}
	c.send(frame{op: ws.OpBinary, body: body})
	c.expectClose(int(wire.DisconnectTooManyRequests.Code))
}

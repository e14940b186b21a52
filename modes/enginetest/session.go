package enginetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var sessionCases = []suiteCase{
	{"session/connect reply", testConnectReply},
	{"session/answers", testAnswers},
	{"session/several commands in one frame", testSeveralCommands},
	{"session/connect with subs", testConnectSubs},
	{"session/connect fails and is tried again", testConnectAgain},
	{"session/ends", testSessionEnds},
	{"session/limits", testSessionLimits},
	{"session/publish", testClientPublish},
	{"session/publish, a share for each client", testPublishShare},
	{"session/protobuf", testProtobuf},
}

func testConnectReply(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	ids := map[string]bool{}
	for range 10 {
		r := n.Open(t, modes.PathCentrifuge).Connect()
		if r.Version != kit.Version || r.Ping != 0 || r.Pong {
			t.Errorf("connect: got %+v, want version %q and no pings", r, kit.Version)
		}
		ids[r.Client] = true
	}
	if len(ids) != 10 {
		t.Errorf("10 connections have %d client ids", len(ids))
	}
}

// answers are commands in order on one connection, each with the code of the
// error that it is answered with, 0 for none.
var answers = []struct {
	command string
	code    uint32
}{
	{`{"id":2,"subscribe":{"channel":"news"}}`, 0},
	{`{"id":3,"subscribe":{"channel":"news"}}`, 105},
	{`{"id":4,"subscribe":{"channel":""}}`, 107},
	{`{"id":5,"subscribe":{}}`, 107},
	{`{"id":6,"subscribe":{"channel":"` + strings.Repeat("x", 255) + `"}}`, 0},
	{`{"id":7,"subscribe":{"channel":"` + strings.Repeat("x", 256) + `"}}`, 107},
	{`{"id":8,"subscribe":{"channel":"a\u0000b"}}`, 107},
	{`{"id":9,"subscribe":{"channel":"a\nb"}}`, 107},
	{`{"id":10,"subscribe":{"channel":"` + "\u65b0\u805e \U0001f600" + `"}}`, 0},
	{`{"id":11,"subscribe":{"channel":"\u65b0\u805e \ud83d\ude00"}}`, 105},
	{`{"id":12,"unsubscribe":{"channel":"news"}}`, 0},
	{`{"id":13,"unsubscribe":{"channel":"news"}}`, 0},
	{`{"id":14,"unsubscribe":{"channel":"never subscribed"}}`, 0},
	{`{"id":15,"unsubscribe":{"channel":""}}`, 107},
	{`{"id":16,"subscribe":{"channel":"news"}}`, 0},
	{`{"id":17,"publish":{"channel":"news","data":{}}}`, 103},
	{`{"id":18,"presence":{"channel":"news"}}`, 108},
	{`{"id":19,"presence_stats":{"channel":"news"}}`, 108},
	{`{"id":20,"history":{"channel":"news"}}`, 108},
	{`{"id":21,"rpc":{"method":"m","data":{}}}`, 108},
	{`{"id":22,"frobnicate":{}}`, 104},
	{`{"id":23}`, 104},
	{`{"id":24,"ping":{}}`, 0},
	{`{"id":4294967295,"ping":{}}`, 0},
	{` {"subscribe" : {"channel" : "spaced"} , "id" : 25} `, 0},
	{`{"id":26,"subscribe":{"channel":"unknown fields","frob":[1,{"a":null}]},"nicate":"\u00e9"}`, 0},
}

func testAnswers(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Session(t)
	for _, test := range answers {
		c.Send(kit.Text(test.command))
		r := c.Next()
		if r.Id == 0 || !strings.Contains(test.command, fmt.Sprint(r.Id)) {
			t.Fatalf("%s: got %s", test.command, kit.Show(r))
		}
		if got := r.GetError().GetCode(); got != test.code {
			t.Errorf("%s: got %s, want code %d", test.command, kit.Show(r), test.code)
		}
	}
	// A message without answer changes nothing.
	c.Send(kit.Text(`{"send":{"data":{}}}`))
	c.LastID = 100
	c.RoundTrip()
	c.Leave()
	n.Settle(t)
}

// Commands in one frame are answered each; a line feed after the last is no
// further command.
func testSeveralCommands(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Open(t, modes.PathCentrifuge)
	c.Send(kit.Text(`{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"a"}}` + "\n" +
		`{"id":3,"subscribe":{"channel":"b"}}` + "\n" + `{"id":4,"ping":{}}` + "\r\n" + `{"id":5,"frob":{}}` + "\n"))
	seen := map[uint32]bool{}
	for range 5 {
		r := c.Next()
		if seen[r.Id] || (r.Error != nil) != (r.Id == 5) {
			t.Errorf("got %s", kit.Show(r))
		}
		seen[r.Id] = true
	}
	for _, channel := range []string{"a", "b"} {
		n.Bus.Send(channel, "1")
		c.ExpectPush(channel, "1")
	}
	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf(`{"id":%d,"ping":{}}`, 1000+i))
	}
	c.Send(kit.Text(strings.Join(lines, "\n")))
	for i := range uint32(1000) {
		if r := c.Next(); r.Id != 1000+i || r.Ping == nil {
			t.Fatalf("got %s, want the answer to ping %d", kit.Show(r), 1000+i)
		}
	}
}

func testConnectSubs(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Open(t, modes.PathCentrifuge)
	if r := c.Connect("a", "b", "c"); r.Subs["a"] == nil || r.Subs["b"] == nil || r.Subs["c"] == nil {
		t.Errorf("connect: got subs %v, want a, b, c", r.Subs)
	}
	for _, channel := range []string{"a", "b", "c"} {
		n.Bus.Send(channel, "1")
		c.ExpectPush(channel, "1")
		if id := c.Post(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: channel}}); true {
			c.ExpectError(id, 105)
		}
	}
	if got := n.Stats.Subscriptions.Load(); got != 3 {
		t.Errorf("%d subscriptions are counted, want 3", got)
	}
	c.Leave()
	n.Settle(t)

	// All channels or none; the client may try again.
	c = n.Open(t, modes.PathCentrifuge)
	c.Send(kit.Text(`{"id":1,"connect":{"subs":{"good":{},"":{}}}}`))
	c.ExpectError(1, 107)
	release := n.Bus.Hold("bad")
	c.Send(kit.Text(`{"id":2,"connect":{"subs":{"good":{},"bad":{},"also good":{}}}}`))
	n.Bus.AwaitWaiting(t, "bad")
	release(kit.ErrRefused)
	c.ExpectError(2, 100)
	kit.Await(t, "no reference after a failed connect", func() (bool, string) {
		got := n.Bus.References()
		return got == 0, fmt.Sprint(got)
	})
	c.LastID = 2
	c.Connect("good")
	n.Bus.Send("good", "2")
	c.ExpectPush("good", "2")
}

// A client whose connect failed may try again, until the time for connecting is
// over.
func testConnectAgain(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.HandshakeTimeout = kit.ShortTimeout })
	release := n.Bus.Hold("bad")
	// From before the deadline was set, so that waiting longer than the server
	// cannot fail the case.
	begun := time.Now()
	c := n.Open(t, modes.PathCentrifuge)
	c.Send(kit.Text(`{"id":1,"connect":{"subs":{"bad":{}}}}`))
	n.Bus.AwaitWaiting(t, "bad")
	release(kit.ErrRefused)
	c.ExpectError(1, 100)
	c.ExpectClose(int(wire.DisconnectStale.Code))
	if had := time.Since(begun); had < n.Limits.HandshakeTimeout {
		t.Errorf("closed after %v, want %v or more", had, n.Limits.HandshakeTimeout)
	}
}

// ends are messages that end a session: before the connect command, or after.
var ends = []struct {
	name, message string
	connected     bool
	want          wire.Disconnect
}{
	{"subscribe first", `{"id":1,"subscribe":{"channel":"news"}}`, false, wire.DisconnectStale},
	{"ping first", `{"id":1,"ping":{}}`, false, wire.DisconnectStale},
	{"pong first", `{}`, false, wire.DisconnectStale},
	{"unknown first", `{"id":1,"frob":{}}`, false, wire.DisconnectStale},
	{"no JSON first", `hello`, false, wire.DisconnectBadRequest},
	{"connect without id", `{"connect":{}}`, false, wire.DisconnectBadRequest},
	{"no JSON", `hello`, true, wire.DisconnectBadRequest},
	{"empty", ``, true, wire.DisconnectBadRequest},
	{"line feed", "\n", true, wire.DisconnectBadRequest},
	{"spaces", `   `, true, wire.DisconnectBadRequest},
	{"cut JSON", `{"id":2,"ping":{}`, true, wire.DisconnectBadRequest},
	{"JSON and more", `{"id":2,"ping":{}}}`, true, wire.DisconnectBadRequest},
	{"array", `[{"id":2,"ping":{}}]`, true, wire.DisconnectBadRequest},
	{"null", `null`, true, wire.DisconnectBadRequest},
	{"number", `7`, true, wire.DisconnectBadRequest},
	{"string", `"{}"`, true, wire.DisconnectBadRequest},
	{"wrong type", `{"id":2,"subscribe":{"channel":7}}`, true, wire.DisconnectBadRequest},
	{"wrong type of command", `{"id":2,"subscribe":[]}`, true, wire.DisconnectBadRequest},
	{"id is a string", `{"id":"2","ping":{}}`, true, wire.DisconnectBadRequest},
	{"id below 0", `{"id":-2,"ping":{}}`, true, wire.DisconnectBadRequest},
	{"id above 32 bits", `{"id":4294967296,"ping":{}}`, true, wire.DisconnectBadRequest},
	{"no id", `{"subscribe":{"channel":"a"}}`, true, wire.DisconnectBadRequest},
	{"pong without ping", `{}`, true, wire.DisconnectBadRequest},
	{"second connect", `{"id":2,"connect":{}}`, true, wire.DisconnectBadRequest},
	{"deep", `{"id":2,"rpc":{"data":` + strings.Repeat("[", 30_000) + `}}`, true, wire.DisconnectBadRequest},
}

func testSessionEnds(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for _, test := range ends {
		t.Run(test.name, func(t *testing.T) {
			c := n.Open(t, modes.PathCentrifuge)
			if test.connected {
				c.Connect("news")
			}
			c.Send(kit.Text(test.message))
			f := c.Frame()
			if f.Op != ws.OpClose || len(f.Body) < 2 || string(f.Body[2:]) != test.want.Reason {
				t.Errorf("got frame op %#x %s, want the close frame of %v", f.Op, kit.CloseText(f), test.want)
			}
			c.Finish(int(test.want.Code), f)
		})
	}
	t.Run("what came before is answered", func(t *testing.T) {
		c := n.Session(t)
		c.Send(kit.Text(`{"id":2,"ping":{}}` + "\n" + `hello` + "\n" + `{"id":3,"ping":{}}`))
		if r := c.Next(); r.Id != 2 || r.Ping == nil {
			t.Errorf("got %s, want the answer to the command before", kit.Show(r))
		}
		c.ExpectClose(int(wire.DisconnectBadRequest.Code))
	})
}

func testSessionLimits(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Rules.MaxChannels = 3 })
	c := n.Session(t)
	for _, channel := range []string{"a", "b", "c"} {
		c.Subscribe(channel)
	}
	c.ExpectError(c.Post(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: "d"}}), 106)
	c.Unsubscribe("b")
	c.Subscribe("d")

	// What is not confirmed yet counts, or a client could ask for any number.
	release := n.Bus.Hold("w", "x", "y", "z")
	greedy := n.Session(t)
	var ids []uint32
	for _, channel := range []string{"w", "x", "y", "z"} {
		ids = append(ids, greedy.Post(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: channel}}))
	}
	n.Bus.AwaitWaiting(t, "w")
	release(nil)
	greedy.ExpectError(ids[3], 106)
	for _, id := range ids[:3] {
		if r := greedy.Reply(id); r.Subscribe == nil {
			t.Errorf("got %s, want a subscribe reply", kit.Show(r))
		}
	}

	many := n.Open(t, modes.PathCentrifuge)
	many.Send(kit.Text(`{"id":1,"connect":{"subs":{"a":{},"b":{},"c":{},"d":{}}}}`))
	many.ExpectError(1, 106)
}

// However much one client publishes while Redis is slow, its share of the bus is
// bounded; each publish is answered, and others have their own share.
func testPublishShare(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Rules.ClientPublish = true })
	clients := []*kit.Client{n.Session(t), n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)}
	clients[1].Connect()
	for size, share := range map[int]int{1: 255, 60_000: 8} {
		const each = 300
		data := protocol.Raw(`"` + strings.Repeat("x", size) + `"`)
		release := n.Bus.HoldPublish()
		waiting := 0
		for _, c := range clients {
			for range each {
				c.Post(&protocol.Command{Publish: &protocol.PublishRequest{Channel: "news", Data: data}})
			}
			for range each - share {
				if r := c.Next(); r.GetError().GetCode() != 111 || !r.Error.Temporary {
					t.Fatalf("%d bytes: got %s, want error 111, temporary", size, kit.Show(r))
				}
			}
			c.RoundTrip()
			if waiting += share; n.Bus.HeldPublishes() != waiting {
				t.Errorf("%d bytes: %d publishes are on their way, want %d", size, n.Bus.HeldPublishes(), waiting)
			}
		}
		release()
		for _, c := range clients {
			for range share {
				if r := c.Next(); r.Publish == nil {
					t.Fatalf("%d bytes: got %s, want the reply to a publish", size, kit.Show(r))
				}
			}
		}
	}
}

func testClientPublish(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Rules.ClientPublish = true })
	publisher, subscriber := n.Session(t), n.Session(t, "news")
	publish := func(channel, data string) *protocol.Reply {
		return publisher.Call(&protocol.Command{Publish: &protocol.PublishRequest{Channel: channel, Data: protocol.Raw(data)}})
	}
	for _, data := range []string{`{"hello":"world"}`, `1`, `"text"`, `null`, `[1,2]`} {
		if r := publish("news", data); r.Publish == nil {
			t.Errorf("publish %s: got %s", data, kit.Show(r))
		}
		subscriber.ExpectPush("news", data)
	}
	if r := publish("", `1`); r.GetError().GetCode() != 107 {
		t.Errorf("publish to no channel: got %s, want error 107", kit.Show(r))
	}
	publisher.Send(kit.Text(`{"id":90,"publish":{"channel":"news"}}`))
	publisher.ExpectError(90, 107)
	n.Bus.RefusePublish(true)
	if r := publish("news", `2`); r.GetError().GetCode() != 100 {
		t.Errorf("publish while Redis refuses: got %s, want error 100", kit.Show(r))
	}
	n.Bus.RefusePublish(false)

	// One client's publications keep their order, and come to itself, too.
	publisher.Subscribe("own")
	publishMany(publisher, "own", 10)

	// A client that leaves while its publication is on its way leaves nothing.
	for range 20 {
		c := n.Session(t, "left")
		c.Post(&protocol.Command{Publish: &protocol.PublishRequest{Channel: "left", Data: protocol.Raw("1")}})
		c.Reset()
	}
	publisher.Leave()
	subscriber.Leave()
	n.Settle(t)
}

// publishMany publishes numbers to a channel that the client is subscribed to, in
// batches that no queue is too short for, and takes replies and publications.
func publishMany(c *kit.Client, channel string, batches int) {
	c.T.Helper()
	for batch := range batches {
		for i := batch * window; i < (batch+1)*window; i++ {
			c.Send(kit.Text(fmt.Sprintf(`{"id":%d,"publish":{"channel":%q,"data":%d}}`, 1000+i, channel, i)))
		}
		for i := batch * window; i < (batch+1)*window; i++ {
			if r := c.Reply(uint32(1000 + i)); r.Publish == nil {
				c.T.Fatalf("got %s, want a publish reply", kit.Show(r))
			}
		}
		for i := batch * window; i < (batch+1)*window; i++ {
			c.ExpectPush(channel, fmt.Sprint(i))
		}
	}
}

func testProtobuf(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Rules.ClientPublish = true })
	c := n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
	if r := c.Connect("a"); r.Version != kit.Version {
		t.Errorf("connect: got %+v", r)
	}
	c.Subscribe("b")
	c.RoundTrip()
	c.ExpectError(c.Post(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: "a"}}), 105)
	c.ExpectError(c.Post(&protocol.Command{Rpc: &protocol.RPCRequest{}}), 108)
	json := n.Session(t, "a", "b")
	for _, data := range []string{`{"hello":"world"}`, "no JSON", string(pattern(70_000))} {
		n.Bus.Send("a", data)
		c.ExpectPush("a", data)
		want := data
		if data[0] != '{' {
			want = `"` + data + `"`
		}
		json.ExpectPush("a", want)
	}
	if r := c.Call(&protocol.Command{Publish: &protocol.PublishRequest{Channel: "b", Data: protocol.Raw("7")}}); r.Publish == nil {
		t.Errorf("publish: got %s", kit.Show(r))
	}
	c.ExpectPush("b", "7")
	json.ExpectPush("b", "7")
	c.Unsubscribe("b")

	// Several commands in one message.
	first, second := c.Encode(&protocol.Command{Id: 50, Ping: &protocol.PingRequest{}}), c.Encode(&protocol.Command{Id: 51, Ping: &protocol.PingRequest{}})
	c.Send(kit.BinaryFrame(string(first.Body) + string(second.Body)))
	c.Reply(50)
	c.Reply(51)
	c.Send(kit.BinaryFrame("\xff\xff\xff"))
	c.ExpectClose(int(wire.DisconnectBadRequest.Code))
}

package enginetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
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

func testConnectReply(t *testing.T, build Build) {
	n := start(t, build, nil)
	ids := map[string]bool{}
	for range 10 {
		r := n.open(t, modes.PathCentrifuge).connect()
		if r.Version != version || r.Ping != 0 || r.Pong {
			t.Errorf("connect: got %+v, want version %q and no pings", r, version)
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

func testAnswers(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.session(t)
	for _, test := range answers {
		c.send(text(test.command))
		r := c.next()
		if r.Id == 0 || !strings.Contains(test.command, fmt.Sprint(r.Id)) {
			t.Fatalf("%s: got %s", test.command, show(r))
		}
		if got := r.GetError().GetCode(); got != test.code {
			t.Errorf("%s: got %s, want code %d", test.command, show(r), test.code)
		}
	}
	// A message without answer changes nothing.
	c.send(text(`{"send":{"data":{}}}`))
	c.lastID = 100
	c.roundTrip()
	c.leave()
	n.settle(t)
}

// Commands in one frame are answered each; a line feed after the last is no
// further command.
func testSeveralCommands(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.open(t, modes.PathCentrifuge)
	c.send(text(`{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"a"}}` + "\n" +
		`{"id":3,"subscribe":{"channel":"b"}}` + "\n" + `{"id":4,"ping":{}}` + "\r\n" + `{"id":5,"frob":{}}` + "\n"))
	seen := map[uint32]bool{}
	for range 5 {
		r := c.next()
		if seen[r.Id] || (r.Error != nil) != (r.Id == 5) {
			t.Errorf("got %s", show(r))
		}
		seen[r.Id] = true
	}
	for _, channel := range []string{"a", "b"} {
		n.bus.publish(channel, "1")
		c.expectPush(channel, "1")
	}
	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf(`{"id":%d,"ping":{}}`, 1000+i))
	}
	c.send(text(strings.Join(lines, "\n")))
	for i := range uint32(1000) {
		if r := c.next(); r.Id != 1000+i || r.Ping == nil {
			t.Fatalf("got %s, want the answer to ping %d", show(r), 1000+i)
		}
	}
}

func testConnectSubs(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.open(t, modes.PathCentrifuge)
	if r := c.connect("a", "b", "c"); r.Subs["a"] == nil || r.Subs["b"] == nil || r.Subs["c"] == nil {
		t.Errorf("connect: got subs %v, want a, b, c", r.Subs)
	}
	for _, channel := range []string{"a", "b", "c"} {
		n.bus.publish(channel, "1")
		c.expectPush(channel, "1")
		if id := c.post(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: channel}}); true {
			c.expectError(id, 105)
		}
	}
	if got := n.stats.Subscriptions.Load(); got != 3 {
		t.Errorf("%d subscriptions are counted, want 3", got)
	}
	c.leave()
	n.settle(t)

	// All channels or none; the client may try again.
	c = n.open(t, modes.PathCentrifuge)
	c.send(text(`{"id":1,"connect":{"subs":{"good":{},"":{}}}}`))
	c.expectError(1, 107)
	release := n.bus.hold("bad")
	c.send(text(`{"id":2,"connect":{"subs":{"good":{},"bad":{},"also good":{}}}}`))
	n.bus.awaitWaiting(t, "bad")
	release(errRefused)
	c.expectError(2, 100)
	await(t, "no reference after a failed connect", func() (bool, string) {
		got := n.bus.references()
		return got == 0, fmt.Sprint(got)
	})
	c.lastID = 2
	c.connect("good")
	n.bus.publish("good", "2")
	c.expectPush("good", "2")
}

// A client whose connect failed may try again, until the time for connecting is
// over.
func testConnectAgain(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.HandshakeTimeout = shortTimeout })
	release := n.bus.hold("bad")
	// From before the deadline was set, so that waiting longer than the server
	// cannot fail the case.
	begun := time.Now()
	c := n.open(t, modes.PathCentrifuge)
	c.send(text(`{"id":1,"connect":{"subs":{"bad":{}}}}`))
	n.bus.awaitWaiting(t, "bad")
	release(errRefused)
	c.expectError(1, 100)
	c.expectClose(int(wire.DisconnectStale.Code))
	if had := time.Since(begun); had < n.limits.HandshakeTimeout {
		t.Errorf("closed after %v, want %v or more", had, n.limits.HandshakeTimeout)
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

func testSessionEnds(t *testing.T, build Build) {
	n := start(t, build, nil)
	for _, test := range ends {
		t.Run(test.name, func(t *testing.T) {
			c := n.open(t, modes.PathCentrifuge)
			if test.connected {
				c.connect("news")
			}
			c.send(text(test.message))
			f := c.frame()
			if f.op != ws.OpClose || len(f.body) < 2 || string(f.body[2:]) != test.want.Reason {
				t.Errorf("got frame op %#x %s, want the close frame of %v", f.op, closeText(f), test.want)
			}
			c.finish(int(test.want.Code), f)
		})
	}
	t.Run("what came before is answered", func(t *testing.T) {
		c := n.session(t)
		c.send(text(`{"id":2,"ping":{}}` + "\n" + `hello` + "\n" + `{"id":3,"ping":{}}`))
		if r := c.next(); r.Id != 2 || r.Ping == nil {
			t.Errorf("got %s, want the answer to the command before", show(r))
		}
		c.expectClose(int(wire.DisconnectBadRequest.Code))
	})
}

func testSessionLimits(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.rules.MaxChannels = 3 })
	c := n.session(t)
	for _, channel := range []string{"a", "b", "c"} {
		c.subscribe(channel)
	}
	c.expectError(c.post(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: "d"}}), 106)
	c.unsubscribe("b")
	c.subscribe("d")

	// What is not confirmed yet counts, or a client could ask for any number.
	release := n.bus.hold("w", "x", "y", "z")
	greedy := n.session(t)
	var ids []uint32
	for _, channel := range []string{"w", "x", "y", "z"} {
		ids = append(ids, greedy.post(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: channel}}))
	}
	n.bus.awaitWaiting(t, "w")
	release(nil)
	greedy.expectError(ids[3], 106)
	for _, id := range ids[:3] {
		if r := greedy.reply(id); r.Subscribe == nil {
			t.Errorf("got %s, want a subscribe reply", show(r))
		}
	}

	many := n.open(t, modes.PathCentrifuge)
	many.send(text(`{"id":1,"connect":{"subs":{"a":{},"b":{},"c":{},"d":{}}}}`))
	many.expectError(1, 106)
}

// However much one client publishes while Redis is slow, its share of the bus is
// bounded; each publish is answered, and others have their own share.
func testPublishShare(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.rules.ClientPublish = true })
	clients := []*client{n.session(t), n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)}
	clients[1].connect()
	for size, share := range map[int]int{1: 255, 60_000: 8} {
		const each = 300
		data := protocol.Raw(`"` + strings.Repeat("x", size) + `"`)
		release := n.bus.holdPublish()
		waiting := 0
		for _, c := range clients {
			for range each {
				c.post(&protocol.Command{Publish: &protocol.PublishRequest{Channel: "news", Data: data}})
			}
			for range each - share {
				if r := c.next(); r.GetError().GetCode() != 111 || !r.Error.Temporary {
					t.Fatalf("%d bytes: got %s, want error 111, temporary", size, show(r))
				}
			}
			c.roundTrip()
			if waiting += share; n.bus.heldPublishes() != waiting {
				t.Errorf("%d bytes: %d publishes are on their way, want %d", size, n.bus.heldPublishes(), waiting)
			}
		}
		release()
		for _, c := range clients {
			for range share {
				if r := c.next(); r.Publish == nil {
					t.Fatalf("%d bytes: got %s, want the reply to a publish", size, show(r))
				}
			}
		}
	}
}

func testClientPublish(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.rules.ClientPublish = true })
	publisher, subscriber := n.session(t), n.session(t, "news")
	publish := func(channel, data string) *protocol.Reply {
		return publisher.call(&protocol.Command{Publish: &protocol.PublishRequest{Channel: channel, Data: protocol.Raw(data)}})
	}
	for _, data := range []string{`{"hello":"world"}`, `1`, `"text"`, `null`, `[1,2]`} {
		if r := publish("news", data); r.Publish == nil {
			t.Errorf("publish %s: got %s", data, show(r))
		}
		subscriber.expectPush("news", data)
	}
	if r := publish("", `1`); r.GetError().GetCode() != 107 {
		t.Errorf("publish to no channel: got %s, want error 107", show(r))
	}
	publisher.send(text(`{"id":90,"publish":{"channel":"news"}}`))
	publisher.expectError(90, 107)
	n.bus.refusePublish(true)
	if r := publish("news", `2`); r.GetError().GetCode() != 100 {
		t.Errorf("publish while Redis refuses: got %s, want error 100", show(r))
	}
	n.bus.refusePublish(false)

	// One client's publications keep their order, and come to itself, too.
	publisher.subscribe("own")
	publisher.publishMany("own", 10)

	// A client that leaves while its publication is on its way leaves nothing.
	for range 20 {
		c := n.session(t, "left")
		c.post(&protocol.Command{Publish: &protocol.PublishRequest{Channel: "left", Data: protocol.Raw("1")}})
		c.reset()
	}
	publisher.leave()
	subscriber.leave()
	n.settle(t)
}

// publishMany publishes numbers to a channel that the client is subscribed to, in
// batches that no queue is too short for, and takes replies and publications.
func (c *client) publishMany(channel string, batches int) {
	c.t.Helper()
	for batch := range batches {
		for i := batch * window; i < (batch+1)*window; i++ {
			c.send(text(fmt.Sprintf(`{"id":%d,"publish":{"channel":%q,"data":%d}}`, 1000+i, channel, i)))
		}
		for i := batch * window; i < (batch+1)*window; i++ {
			if r := c.reply(uint32(1000 + i)); r.Publish == nil {
				c.t.Fatalf("got %s, want a publish reply", show(r))
			}
		}
		for i := batch * window; i < (batch+1)*window; i++ {
			c.expectPush(channel, fmt.Sprint(i))
		}
	}
}

func testProtobuf(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.rules.ClientPublish = true })
	c := n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
	if r := c.connect("a"); r.Version != version {
		t.Errorf("connect: got %+v", r)
	}
	c.subscribe("b")
	c.roundTrip()
	c.expectError(c.post(&protocol.Command{Subscribe: &protocol.SubscribeRequest{Channel: "a"}}), 105)
	c.expectError(c.post(&protocol.Command{Rpc: &protocol.RPCRequest{}}), 108)
	json := n.session(t, "a", "b")
	for _, data := range []string{`{"hello":"world"}`, "no JSON", string(pattern(70_000))} {
		n.bus.publish("a", data)
		c.expectPush("a", data)
		want := data
		if data[0] != '{' {
			want = `"` + data + `"`
		}
		json.expectPush("a", want)
	}
	if r := c.call(&protocol.Command{Publish: &protocol.PublishRequest{Channel: "b", Data: protocol.Raw("7")}}); r.Publish == nil {
		t.Errorf("publish: got %s", show(r))
	}
	c.expectPush("b", "7")
	json.expectPush("b", "7")
	c.unsubscribe("b")

	// Several commands in one message.
	first, second := c.encode(&protocol.Command{Id: 50, Ping: &protocol.PingRequest{}}), c.encode(&protocol.Command{Id: 51, Ping: &protocol.PingRequest{}})
	c.send(binaryFrame(string(first.body) + string(second.body)))
	c.reply(50)
	c.reply(51)
	c.send(binaryFrame("\xff\xff\xff"))
	c.expectClose(int(wire.DisconnectBadRequest.Code))
}

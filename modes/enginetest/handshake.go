package enginetest

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var handshakeCases = []suiteCase{
	{"handshake/every byte its own segment", testHandshakeChopped},
	{"handshake/frames in the same segment", testHandshakeThenFrames},
	{"handshake/keys", testHandshakeKeys},
	{"handshake/subprotocol", testSubprotocol},
	{"handshake/encoding by query", testEncodingQuery},
	{"handshake/counted", testHandshakeCounted},
	{"handshake/connection limit", testConnectionLimit},
	{"handshake/connect rate", testConnectRate},
	{"handshake/origin", testOrigin},
}

func testHandshakeChopped(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Dial(t)
	c.Chopped = true
	c.Handshake(modes.PathCentrifuge)
	c.Connect("news")
	n.Bus.Send("news", `"first"`)
	c.ExpectPush("news", `"first"`)
	c.Unsubscribe("news")
}

// The bytes that follow the request in its segment are frames already: clients
// need not wait, and proxies join segments.
func testHandshakeThenFrames(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	t.Run("whole frames", func(t *testing.T) {
		c := n.Dial(t)
		c.Write(append(kit.Upgrade(modes.PathEcho).Bytes(), kit.Encode(kit.Text("one"), kit.Text("two"))...))
		c.ExpectUpgrade("")
		c.Expect(kit.Text("one"))
		c.Expect(kit.Text("two"))
	})
	t.Run("half a frame", func(t *testing.T) {
		c := n.Dial(t)
		message := kit.Encode(kit.Text("cut in two"))
		c.Write(append(kit.Upgrade(modes.PathEcho).Bytes(), message[:7]...))
		c.ExpectUpgrade("")
		c.Write(message[7:])
		c.Expect(kit.Text("cut in two"))
	})
	t.Run("more than any buffer", func(t *testing.T) {
		c := n.Dial(t)
		large := strings.Repeat("0123456789abcdef", 2<<10)
		c.Write(append(kit.Upgrade(modes.PathEcho).Bytes(), kit.Encode(kit.Text(large))...))
		c.ExpectUpgrade("")
		c.Expect(kit.Text(large))
	})
	t.Run("connect and subscribe", func(t *testing.T) {
		c := n.Dial(t)
		c.Write(append(kit.Upgrade(modes.PathCentrifuge).Bytes(),
			kit.Encode(kit.Text(`{"id":1,"connect":{}}`), kit.Text(`{"id":2,"subscribe":{"channel":"news"}}`))...))
		c.ExpectUpgrade("")
		if r := c.Next(); r.Id != 1 || r.Connect == nil {
			t.Errorf("got %s, want the connect reply", kit.Show(r))
		}
		if r := c.Next(); r.Id != 2 || r.Subscribe == nil {
			t.Errorf("got %s, want the subscribe reply", kit.Show(r))
		}
	})
	t.Run("close", func(t *testing.T) {
		c := n.Dial(t)
		c.Write(append(kit.Upgrade(modes.PathEcho).Bytes(), kit.Encode(kit.Closing(1000, "bye"))...))
		c.ExpectUpgrade("")
		c.Expect(kit.Closing(1000, ""))
		c.ExpectCleanEnd()
	})
}

func testHandshakeKeys(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	// accept is checked against the example of RFC 6455 section 1.3.
	if got := kit.Accept(kit.Key); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("accept: %s", got)
	}
	for _, b := range []byte{0, 0xff, 0xfb, 0x69} {
		key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 16))
		c := n.Dial(t)
		c.Write(kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Key", "Sec-WebSocket-Key: "+key).Bytes())
		r, _ := c.Response()
		if got := r.Header.Get("Sec-WebSocket-Accept"); r.StatusCode != http.StatusSwitchingProtocols || got != kit.Accept(key) {
			t.Errorf("key %s: %s, accept %q, want 101, %q", key, r.Status, got, kit.Accept(key))
		}
	}
}

func testSubprotocol(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for _, test := range []struct {
		name, path string
		headers    []string
		want       string
	}{
		{"none", modes.PathCentrifuge, nil, ""},
		{"unknown", modes.PathCentrifuge, []string{"Sec-WebSocket-Protocol: chat"}, ""},
		{"protobuf", modes.PathCentrifuge, []string{"Sec-WebSocket-Protocol: centrifuge-protobuf"}, wire.ProtobufSubprotocol},
		{"in a list", modes.PathCentrifuge, []string{"Sec-WebSocket-Protocol: chat, centrifuge-protobuf"}, wire.ProtobufSubprotocol},
		{"in two lines", modes.PathCentrifuge, []string{"Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: centrifuge-protobuf"}, wire.ProtobufSubprotocol},
		{"JSON", modes.PathCentrifuge, []string{"Sec-WebSocket-Protocol: centrifuge-json"}, wire.JSONSubprotocol},
		{"JSON behind protobuf", modes.PathCentrifuge, []string{"Sec-WebSocket-Protocol: centrifuge-protobuf, centrifuge-json"}, wire.JSONSubprotocol},
		{"JSON before protobuf", modes.PathCentrifuge, []string{"Sec-WebSocket-Protocol: centrifuge-json,centrifuge-protobuf"}, wire.JSONSubprotocol},
		{"both in two lines", modes.PathCentrifuge, []string{"Sec-WebSocket-Protocol: centrifuge-protobuf", "Sec-WebSocket-Protocol: x, centrifuge-json"}, wire.JSONSubprotocol},
		{"JSON, whatever the query says", modes.PathCentrifuge + "?format=protobuf", []string{"Sec-WebSocket-Protocol: centrifuge-json"}, wire.JSONSubprotocol},
		{"JSON, oddly cased", modes.PathCentrifuge, []string{"Sec-WebSocket-Protocol: Centrifuge-JSON"}, ""},
		{"JSON not on the raw endpoint", modes.PathRaw + "?channel=a", []string{"Sec-WebSocket-Protocol: centrifuge-json"}, ""},
		{"JSON by query", modes.PathCentrifuge + "?format=json", nil, ""},
		{"not on the echo endpoint", modes.PathEcho, []string{"Sec-WebSocket-Protocol: centrifuge-protobuf"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := n.Dial(t)
			c.Write(kit.Upgrade(test.path, test.headers...).Bytes())
			c.ExpectUpgrade(test.want)
			if !strings.HasPrefix(test.path, modes.PathCentrifuge) {
				return
			}
			if test.want == wire.ProtobufSubprotocol {
				c.Protocol = wire.Protobuf
			}
			c.Connect()
		})
	}
}

// Clients that cannot offer a subprotocol ask for the encoding in the query.
func testEncodingQuery(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for _, query := range []string{"?format=protobuf", "?cf_protocol=protobuf", "?a=b&format=protobuf&c"} {
		c := n.Dial(t)
		c.Write(kit.Upgrade(modes.PathCentrifuge + query).Bytes())
		c.ExpectUpgrade("")
		c.Protocol = wire.Protobuf
		c.Connect("news")
		n.Bus.Send("news", "1")
		c.ExpectPush("news", "1")
	}
	kit.AwaitCount(t, n.Stats.Accepted, wire.Protobuf.String(), 3)
}

func testHandshakeCounted(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	n.Session(t)
	n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: centrifuge-protobuf")
	n.Open(t, modes.PathRaw+"?channel=news")
	n.Open(t, modes.PathEcho)
	n.OpenStream(t, modes.PathSSE+"?channel=news")
	n.OpenStream(t, modes.PathStream+"?channel=news")
	for p := range wire.Protocols {
		kit.AwaitCount(t, n.Stats.Accepted, p.String(), 1)
		kit.Await(t, "one connection of protocol "+p.String(), func() (bool, string) {
			return n.Connections(p) == 1, time.Now().String()
		})
	}
}

func testConnectionLimit(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Admission.MaxConnections = 2 })
	first := n.Open(t, modes.PathEcho)
	second := n.Session(t)
	n.AwaitConnections(t, 2)
	for range 3 {
		c := n.Dial(t)
		c.Write(kit.Upgrade(modes.PathEcho).Bytes())
		c.ExpectRefusal(http.StatusServiceUnavailable)
	}
	kit.AwaitCount(t, n.Stats.Refused, admission.RefusedFull.Reason, 3)
	second.RoundTrip()
	first.Leave()
	n.AwaitConnections(t, 1)
	n.Open(t, modes.PathEcho)
}

func testConnectRate(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Admission.ConnectRate = 1 })
	n.Open(t, modes.PathEcho)
	// One a second is let in; a burst of many is not.
	kit.Await(t, "a handshake over the rate to be refused", func() (bool, string) {
		c := n.Dial(t)
		defer c.Leave()
		c.Write(kit.Upgrade(modes.PathEcho).Bytes())
		r, _ := c.Response()
		return r.StatusCode == http.StatusServiceUnavailable, r.Status
	})
}

func testOrigin(t *testing.T, build kit.Build) {
	closed := kit.Start(t, build, nil)
	open := kit.Start(t, build, func(s *kit.Setup) { s.Admission.AllowedOrigins = []string{"https://*.example.com", "app.test"} })
	for _, test := range []struct {
		name   string
		n      *kit.Node
		origin string
		want   int
	}{
		{"same host", closed, "https://tandem.test", 101},
		{"other host", closed, "https://evil.test", 403},
		{"default port", closed, "https://tandem.test:443", 101},
		{"port of the other scheme", closed, "http://tandem.test:443", 403},
		{"null", closed, "null", 403},
		{"no URL", closed, "::", 403},
		{"pattern", open, "https://www.example.com", 101},
		{"pattern, other scheme", open, "http://www.example.com", 403},
		{"host alone", open, "http://app.test", 101},
		{"not in the list", open, "https://tandem.test", 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := test.n.Dial(t)
			c.Write(kit.Upgrade(modes.PathCentrifuge, "Origin: "+test.origin).Bytes())
			if test.want == http.StatusSwitchingProtocols {
				c.ExpectUpgrade("")
				return
			}
			c.ExpectRefusal(test.want)
		})
	}
	for host, origin := range map[string]string{
		"tandem.test:443": "https://tandem.test", "tandem.test:80": "http://tandem.test", "TANDEM.test": "https://tandem.TEST",
	} {
		c := closed.Dial(t)
		c.Write(kit.Upgrade(modes.PathCentrifuge, "Origin: "+origin).With("Host", "Host: "+host).Bytes())
		c.ExpectUpgrade("")
	}
	kit.AwaitCount(t, closed.Stats.Refused, admission.RefusedOrigin.Reason, 4)
	kit.AwaitCount(t, open.Stats.Refused, admission.RefusedOrigin.Reason, 2)
}

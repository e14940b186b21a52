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

func testHandshakeChopped(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.dial(t)
	c.chopped = true
	c.handshake(modes.PathCentrifuge)
	c.connect("news")
	n.bus.publish("news", `"first"`)
	c.expectPush("news", `"first"`)
	c.unsubscribe("news")
}

// The bytes that follow the request in its segment are frames already: clients
// need not wait, and proxies join segments.
func testHandshakeThenFrames(t *testing.T, build Build) {
	n := start(t, build, nil)
	t.Run("whole frames", func(t *testing.T) {
		c := n.dial(t)
		c.write(append(upgrade(modes.PathEcho).bytes(), encode(text("one"), text("two"))...))
		c.expectUpgrade("")
		c.expect(text("one"))
		c.expect(text("two"))
	})
	t.Run("half a frame", func(t *testing.T) {
		c := n.dial(t)
		message := encode(text("cut in two"))
		c.write(append(upgrade(modes.PathEcho).bytes(), message[:7]...))
		c.expectUpgrade("")
		c.write(message[7:])
		c.expect(text("cut in two"))
	})
	t.Run("more than any buffer", func(t *testing.T) {
		c := n.dial(t)
		large := strings.Repeat("0123456789abcdef", 2<<10)
		c.write(append(upgrade(modes.PathEcho).bytes(), encode(text(large))...))
		c.expectUpgrade("")
		c.expect(text(large))
	})
	t.Run("connect and subscribe", func(t *testing.T) {
		c := n.dial(t)
		c.write(append(upgrade(modes.PathCentrifuge).bytes(),
			encode(text(`{"id":1,"connect":{}}`), text(`{"id":2,"subscribe":{"channel":"news"}}`))...))
		c.expectUpgrade("")
		if r := c.next(); r.Id != 1 || r.Connect == nil {
			t.Errorf("got %s, want the connect reply", show(r))
		}
		if r := c.next(); r.Id != 2 || r.Subscribe == nil {
			t.Errorf("got %s, want the subscribe reply", show(r))
		}
	})
	t.Run("close", func(t *testing.T) {
		c := n.dial(t)
		c.write(append(upgrade(modes.PathEcho).bytes(), encode(closing(1000, "bye"))...))
		c.expectUpgrade("")
		c.expect(closing(1000, ""))
		c.expectCleanEnd()
	})
}

func testHandshakeKeys(t *testing.T, build Build) {
	n := start(t, build, nil)
	// accept is checked against the example of RFC 6455 section 1.3.
	if got := accept(key); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("accept: %s", got)
	}
	for _, b := range []byte{0, 0xff, 0xfb, 0x69} {
		key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 16))
		c := n.dial(t)
		c.write(upgrade(modes.PathEcho).with("Sec-WebSocket-Key", "Sec-WebSocket-Key: "+key).bytes())
		r, _ := c.response()
		if got := r.Header.Get("Sec-WebSocket-Accept"); r.StatusCode != http.StatusSwitchingProtocols || got != accept(key) {
			t.Errorf("key %s: %s, accept %q, want 101, %q", key, r.Status, got, accept(key))
		}
	}
}

func testSubprotocol(t *testing.T, build Build) {
	n := start(t, build, nil)
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
			c := n.dial(t)
			c.write(upgrade(test.path, test.headers...).bytes())
			c.expectUpgrade(test.want)
			if !strings.HasPrefix(test.path, modes.PathCentrifuge) {
				return
			}
			if test.want == wire.ProtobufSubprotocol {
				c.protocol = wire.Protobuf
			}
			c.connect()
		})
	}
}

// Clients that cannot offer a subprotocol ask for the encoding in the query.
func testEncodingQuery(t *testing.T, build Build) {
	n := start(t, build, nil)
	for _, query := range []string{"?format=protobuf", "?cf_protocol=protobuf", "?a=b&format=protobuf&c"} {
		c := n.dial(t)
		c.write(upgrade(modes.PathCentrifuge + query).bytes())
		c.expectUpgrade("")
		c.protocol = wire.Protobuf
		c.connect("news")
		n.bus.publish("news", "1")
		c.expectPush("news", "1")
	}
	awaitCount(t, n.stats.Accepted, wire.Protobuf.String(), 3)
}

func testHandshakeCounted(t *testing.T, build Build) {
	n := start(t, build, nil)
	n.session(t)
	n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: centrifuge-protobuf")
	n.open(t, modes.PathRaw+"?channel=news")
	n.open(t, modes.PathEcho)
	n.openStream(t, modes.PathSSE+"?channel=news")
	n.openStream(t, modes.PathStream+"?channel=news")
	for p := range wire.Protocols {
		awaitCount(t, n.stats.Accepted, p.String(), 1)
		await(t, "one connection of protocol "+p.String(), func() (bool, string) {
			return n.connections(p) == 1, time.Now().String()
		})
	}
}

func testConnectionLimit(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.admission.MaxConnections = 2 })
	first := n.open(t, modes.PathEcho)
	second := n.session(t)
	n.awaitConnections(t, 2)
	for range 3 {
		c := n.dial(t)
		c.write(upgrade(modes.PathEcho).bytes())
		c.expectRefusal(http.StatusServiceUnavailable)
	}
	awaitCount(t, n.stats.Refused, admission.RefusedFull.Reason, 3)
	second.roundTrip()
	first.leave()
	n.awaitConnections(t, 1)
	n.open(t, modes.PathEcho)
}

func testConnectRate(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.admission.ConnectRate = 1 })
	n.open(t, modes.PathEcho)
	// One a second is let in; a burst of many is not.
	await(t, "a handshake over the rate to be refused", func() (bool, string) {
		c := n.dial(t)
		defer c.leave()
		c.write(upgrade(modes.PathEcho).bytes())
		r, _ := c.response()
		return r.StatusCode == http.StatusServiceUnavailable, r.Status
	})
}

func testOrigin(t *testing.T, build Build) {
	closed := start(t, build, nil)
	open := start(t, build, func(s *setup) { s.admission.AllowedOrigins = []string{"https://*.example.com", "app.test"} })
	for _, test := range []struct {
		name   string
		n      *node
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
			c := test.n.dial(t)
			c.write(upgrade(modes.PathCentrifuge, "Origin: "+test.origin).bytes())
			if test.want == http.StatusSwitchingProtocols {
				c.expectUpgrade("")
				return
			}
			c.expectRefusal(test.want)
		})
	}
	for host, origin := range map[string]string{
		"tandem.test:443": "https://tandem.test", "tandem.test:80": "http://tandem.test", "TANDEM.test": "https://tandem.TEST",
	} {
		c := closed.dial(t)
		c.write(upgrade(modes.PathCentrifuge, "Origin: "+origin).with("Host", "Host: "+host).bytes())
		c.expectUpgrade("")
	}
	awaitCount(t, closed.stats.Refused, admission.RefusedOrigin.Reason, 4)
	awaitCount(t, open.stats.Refused, admission.RefusedOrigin.Reason, 2)
}

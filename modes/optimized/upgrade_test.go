//go:build linux

package optimized

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// upgradeRequest is what a browser sends, more or less.
const upgradeRequest = "GET /connection/websocket HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n" +
	"Connection: keep-alive, Upgrade\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nOrigin: http://example.com\r\n" +
	"Accept-Encoding: gzip, deflate, br\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// testEngine returns an engine that has what a handshake needs, and no sockets.
func testEngine(tb testing.TB, o admission.Options) *Engine {
	tb.Helper()
	rules := session.Rules{Version: "test", MaxChannels: 128, MaxChannelLength: 255}
	stats := modes.NewStats()
	controller, err := admission.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	e := &Engine{Config: modes.Config{Admission: controller, Stats: stats, Rules: rules, Log: slog.New(slog.DiscardHandler)}, ids: newIDs()}
	e.Limits.MaxMessageSize, e.Limits.MaxQueuedBytes = 64<<10, 1<<20
	e.directory.channels = make(map[string]*channel)
	return e
}

func BenchmarkUpgrade(b *testing.B) {
	h := newHandshaker(testEngine(b, admission.Options{}))
	request := []byte(upgradeRequest)
	b.ReportAllocs()
	for b.Loop() {
		if err := h.run(-1, request); err != nil {
			b.Fatal(err)
		}
	}
}

func TestUpgradeVerdicts(t *testing.T) {
	edit := func(old, fresh string) string {
		if !strings.Contains(upgradeRequest, old) {
			t.Fatalf("the request has no %q", old)
		}
		return strings.Replace(upgradeRequest, old, fresh, 1)
	}
	for name, c := range map[string]struct {
		request  string
		plain    bool
		refusal  *admission.Refusal
		status   string
		protocol wire.Protocol
	}{
		"upgrade":        {request: upgradeRequest, status: "101", protocol: wire.JSON},
		"protobuf":       {request: edit("Origin:", "Sec-WebSocket-Protocol: x, centrifuge-protobuf\r\nOrigin:"), status: "101", protocol: wire.Protobuf},
		"raw":            {request: edit("/connection/websocket", "/ws?channel=a"), status: "101", protocol: wire.Raw},
		"odd case":       {request: edit("Sec-WebSocket-Key", "SEC-websocket-KEY"), status: "101"},
		"other path":     {request: edit("/connection/websocket", "/"), plain: true},
		"echo is off":    {request: edit("/connection/websocket", "/echo"), plain: true},
		"post":           {request: edit("GET", "POST"), plain: true},
		"http 1.0":       {request: edit("HTTP/1.1", "HTTP/1.0"), plain: true},
		"no upgrade":     {request: edit("Upgrade: websocket\r\n", ""), plain: true},
		"no request":     {request: "hello\r\n\r\n", plain: true},
		"foreign origin": {request: edit("Origin: http://example.com", "Origin: http://evil.example"), refusal: admission.RefusedOrigin},
		"version":        {request: edit("Version: 13", "Version: 8"), plain: true},
		"no key":         {request: edit("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), plain: true},
		"short key":      {request: edit("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), plain: true},
		"two keys":       {request: edit("Sec-WebSocket-V", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-V"), plain: true},
		"no base64":      {request: edit("dGhl", "!!!!"), plain: true},
		"two lines":      {request: edit("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"), plain: true},
		"no connection":  {request: edit("Connection: keep-alive, Upgrade\r\n", ""), plain: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandshaker(testEngine(t, admission.Options{}))
			err := h.run(-1, []byte(c.request))
			if plain := errors.Is(err, errPlain); plain != c.plain {
				t.Fatalf("error %v, want plain %v", err, c.plain)
			}
			if c.plain {
				return
			}
			var refusal *admission.Refusal
			if errors.As(err, &refusal); refusal != c.refusal {
				t.Fatalf("refusal %v, want %v", refusal, c.refusal)
			}
			if c.refusal != nil {
				return
			}
			if got := string(h.response); !strings.HasPrefix(got, "HTTP/1.1 "+c.status) {
				t.Errorf("response %q, want %s", got, c.status)
			}
			if c.status == "426" && !strings.Contains(string(h.response), "Sec-WebSocket-Version: 13") {
				t.Errorf("426 without the version: %q", h.response)
			}
			if c.status == "101" && h.protocol != c.protocol {
				t.Errorf("protocol %v, want %v", h.protocol, c.protocol)
			}
		})
	}
}

func TestClientIDsLeadBack(t *testing.T) {
	s := newIDs()
	h := handle{index: 123456, generation: 789}
	id := s.seal(new(session.ID), 3, h)
	loop, got, ok := s.open(id)
	if !ok || loop != 3 || got != h {
		t.Errorf("%s opens to loop %d, %v, %v", id, loop, got, ok)
	}
	if _, _, ok := newIDs().open(id); ok {
		t.Error("another process opens the id")
	}
	if _, _, ok := s.open("not an id"); ok {
		t.Error("what is no id opens")
	}
}

// Every byte is judged, wherever it lies in the words that values are read by.
func TestPlainValue(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for b := range 256 {
				value := []byte(strings.Repeat("~", length))
				value[at] = byte(b)
				want := b >= ' ' && b != 0x7f && (b != ' ' || at < length-1)
				if got := plainValue(value); got != want {
					t.Fatalf("byte %#x at %d of %d: %t, want %t", b, at, length, got, want)
				}
			}
		}
	}
}

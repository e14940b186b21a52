//go:build linux

package enginetest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
)

// foundStreams are inputs in which fuzzing has found the engines to differ, and
// the fuzz targets begin with them.
var foundStreams = []struct {
	name   string
	stream []byte
}{
	// The optimized parser waited for the second byte of a header, and for the mask
	// behind a length, before it looked at what came first.
	{"wrong first byte of a header, then the end", append(encode(text("before")), 0x44)},
	{"continuation of nothing, a byte of it", []byte{0x80}},
	{"too long, cut before the mask", encode(frame{op: ws.OpText, declares: fuzzMessageSize + 1})[:4]},
	// The idiomatic engine closed its socket on what stands behind a close frame, and
	// that reset took with it what it had sent.
	{"close behind pings, and much behind it", encode(append(append(slices.Repeat([]frame{{op: ws.OpPing, body: []byte("abc")}}, 92),
		closing(1005, "")), slices.Repeat([]frame{{op: ws.OpPing, body: pattern(100)}}, 300)...)...)},
	{"length too long in form, cut before the mask", encode(frame{op: ws.OpText, form: 64, body: pattern(5)})[:10]},
}

func TestFoundStreams(t *testing.T) {
	p := startPair(t, nil)
	for _, test := range foundStreams {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(6) {
				p.streams(t, modes.PathEcho, test.stream, seed)
			}
		})
	}
}

// foundRequests are handshakes to which the engines gave different answers: the
// optimized one let in what net/http refuses, and refused what it lets in.
var foundRequests = []struct {
	name    string
	request []byte
}{
	{"space behind a header's name", upgrade(modes.PathEcho).with("Upgrade", "Upgrade : websocket").bytes()},
	{"name that is no token", upgrade(modes.PathEcho, "X(: 1").bytes()},
	{"header without a colon", upgrade(modes.PathEcho, "X-Case1").bytes()},
	{"CR in a header", upgrade(modes.PathEcho, "X-Case: a\rb").bytes()},
	{"NUL in a header", upgrade(modes.PathEcho, "X-Case: a\x00b").bytes()},
	{"two hosts", upgrade(modes.PathEcho, "Host: other.test").bytes()},
	{"empty host", upgrade(modes.PathEcho).with("Host", "Host:").bytes()},
	{"empty host and an origin", upgrade(modes.PathEcho, "Origin: http://tandem.test").with("Host", "Host: ").bytes()},
	{"host that is none", upgrade(modes.PathEcho).with("Host", "Host: a b").bytes()},
	{"two origins", upgrade(modes.PathEcho, "Origin: http://tandem.test", "Origin: http://evil.test").bytes()},
	{"origin that is no URL", upgrade(modes.PathEcho, "Origin: ://tandem.test").bytes()},
	{"origin with a scheme that is none", upgrade(modes.PathEcho, "Origin: ht\xe1tp://tandem.test").bytes()},
	{"origin behind a colon", upgrade(modes.PathEcho, "Origin: :http://tandem.test").bytes()},
	{"own origin of a host that is none", upgrade(modes.PathEcho, "Origin: http://a:b").with("Host", "Host: a:b").bytes()},
	{"two lengths", upgrade(modes.PathEcho, "Content-Length: 0", "Content-Length: 5").bytes()},
	{"empty length", upgrade(modes.PathEcho, "Content-Length:").bytes()},
	{"body", append(upgrade(modes.PathEcho, "Content-Length: 5").bytes(), "hello"...)},
	{"chunked body", append(upgrade(modes.PathEcho, "Transfer-Encoding: chunked").bytes(), "0\r\n\r\n"...)},
	{"length and chunked body", append(upgrade(modes.PathEcho, "Content-Length: 5", "Transfer-Encoding: chunked").bytes(), "0\r\n\r\n"...)},
	{"unknown transfer encoding", upgrade(modes.PathEcho, "Transfer-Encoding: gzip").bytes()},
	{"expectation", upgrade(modes.PathEcho, "Expect: x").bytes()},
	{"upgrade in a list", upgrade(modes.PathEcho).with("Upgrade", "Upgrade: h2c, websocket").bytes()},
	{"connection with a parameter", upgrade(modes.PathEcho).with("Connection", "Connection:upgrade;q=1").bytes()},
	{"connection with a word behind it", upgrade(modes.PathEcho).with("Connection", "Connection: upgrade x").bytes()},
	{"connection by a tab", upgrade(modes.PathEcho).with("Connection", "Connection: Upgrade\tkeep-alive").bytes()},
	{"connection in a list with nothing between commas", upgrade(modes.PathEcho).with("Connection", "Connection: a, ,upgrade,").bytes()},
	{"version of spaces", upgrade(modes.PathEcho).with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13 ").bytes()},
	{"empty extensions", upgrade(modes.PathEcho, "Sec-WebSocket-Extensions: ").bytes()},
	{"subprotocol, oddly cased", upgrade(modes.PathCentrifuge, "Sec-WebSocket-Protocol: Centrifuge-Protobuf").bytes()},
	{"subprotocols that are no list", upgrade(modes.PathEcho, "Sec-WebSocket-Protocol: ,", "Origin: http://evil.test").bytes()},
	{"subprotocols that are no list, in a session", upgrade(modes.PathCentrifuge, "Sec-WebSocket-Protocol: ,, centrifuge-protobuf,").bytes()},
	{"lines that end in LF", bytes.ReplaceAll(upgrade(modes.PathEcho).bytes(), []byte("\r\n"), []byte("\n"))},
	{"last line ends in LF", append(bytes.TrimSuffix(upgrade(modes.PathEcho).bytes(), []byte("\r\n")), '\n')},
	{"whole URL", upgrade("http://tandem.test" + modes.PathEcho).bytes()},
	{"path in percents", upgrade("/%65cho").bytes()},
	{"fragment", upgrade(modes.PathEcho + "#x").bytes()},
	{"version HTTP/1.2", withVersion(upgrade(modes.PathEcho), "HTTP/1.2").bytes()},
	{"raw, no channel, foreign origin", upgrade(modes.PathRaw, "Origin: http://evil.test").bytes()},
}

func TestFoundRequests(t *testing.T) {
	p := startPair(t, nil)
	for _, test := range foundRequests {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(6) {
				p.handshakes(t, append(test.request, encode(text("hello"), closing(1000, ""))...), seed)
			}
		})
	}
}

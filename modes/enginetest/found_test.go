//go:build linux

package enginetest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

// foundStreams are inputs in which fuzzing has found the engines to differ, and
// the fuzz targets begin with them.
var foundStreams = []struct {
	name   string
	stream []byte
}{
	// The optimized parser waited for the second byte of a header, and for the mask
	// behind a length, before it looked at what came first.
	{"wrong first byte of a header, then the end", append(kit.Encode(kit.Text("before")), 0x44)},
	{"continuation of nothing, a byte of it", []byte{0x80}},
	{"too long, cut before the mask", kit.Encode(kit.Frame{Op: ws.OpText, Declares: fuzzMessageSize + 1})[:4]},
	// The idiomatic engine closed its socket on what stands behind a close frame, and
	// that reset took with it what it had sent.
	{"close behind pings, and much behind it", kit.Encode(append(append(slices.Repeat([]kit.Frame{{Op: ws.OpPing, Body: []byte("abc")}}, 92),
		kit.Closing(1005, "")), slices.Repeat([]kit.Frame{{Op: ws.OpPing, Body: pattern(100)}}, 300)...)...)},
	{"length too long in form, cut before the mask", kit.Encode(kit.Frame{Op: ws.OpText, Form: 64, Body: pattern(5)})[:10]},
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
	{"space behind a header's name", kit.Upgrade(modes.PathEcho).With("Upgrade", "Upgrade : websocket").Bytes()},
	{"name that is no token", kit.Upgrade(modes.PathEcho, "X(: 1").Bytes()},
	{"header without a colon", kit.Upgrade(modes.PathEcho, "X-Case1").Bytes()},
	{"CR in a header", kit.Upgrade(modes.PathEcho, "X-Case: a\rb").Bytes()},
	{"NUL in a header", kit.Upgrade(modes.PathEcho, "X-Case: a\x00b").Bytes()},
	{"two hosts", kit.Upgrade(modes.PathEcho, "Host: other.test").Bytes()},
	{"empty host", kit.Upgrade(modes.PathEcho).With("Host", "Host:").Bytes()},
	{"empty host and an origin", kit.Upgrade(modes.PathEcho, "Origin: http://tandem.test").With("Host", "Host: ").Bytes()},
	{"host that is none", kit.Upgrade(modes.PathEcho).With("Host", "Host: a b").Bytes()},
	{"two origins", kit.Upgrade(modes.PathEcho, "Origin: http://tandem.test", "Origin: http://evil.test").Bytes()},
	{"origin that is no URL", kit.Upgrade(modes.PathEcho, "Origin: ://tandem.test").Bytes()},
	{"origin with a scheme that is none", kit.Upgrade(modes.PathEcho, "Origin: ht\xe1tp://tandem.test").Bytes()},
	{"origin behind a colon", kit.Upgrade(modes.PathEcho, "Origin: :http://tandem.test").Bytes()},
	{"own origin of a host that is none", kit.Upgrade(modes.PathEcho, "Origin: http://a:b").With("Host", "Host: a:b").Bytes()},
	{"two lengths", kit.Upgrade(modes.PathEcho, "Content-Length: 0", "Content-Length: 5").Bytes()},
	{"empty length", kit.Upgrade(modes.PathEcho, "Content-Length:").Bytes()},
	{"body", append(kit.Upgrade(modes.PathEcho, "Content-Length: 5").Bytes(), "hello"...)},
	{"chunked body", append(kit.Upgrade(modes.PathEcho, "Transfer-Encoding: chunked").Bytes(), "0\r\n\r\n"...)},
	{"length and chunked body", append(kit.Upgrade(modes.PathEcho, "Content-Length: 5", "Transfer-Encoding: chunked").Bytes(), "0\r\n\r\n"...)},
	{"unknown transfer encoding", kit.Upgrade(modes.PathEcho, "Transfer-Encoding: gzip").Bytes()},
	{"expectation", kit.Upgrade(modes.PathEcho, "Expect: x").Bytes()},
	{"upgrade in a list", kit.Upgrade(modes.PathEcho).With("Upgrade", "Upgrade: h2c, websocket").Bytes()},
	{"connection with a parameter", kit.Upgrade(modes.PathEcho).With("Connection", "Connection:upgrade;q=1").Bytes()},
	{"connection with a word behind it", kit.Upgrade(modes.PathEcho).With("Connection", "Connection: upgrade x").Bytes()},
	{"connection by a tab", kit.Upgrade(modes.PathEcho).With("Connection", "Connection: Upgrade\tkeep-alive").Bytes()},
	{"connection in a list with nothing between commas", kit.Upgrade(modes.PathEcho).With("Connection", "Connection: a, ,upgrade,").Bytes()},
	{"version of spaces", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13 ").Bytes()},
	{"empty extensions", kit.Upgrade(modes.PathEcho, "Sec-WebSocket-Extensions: ").Bytes()},
	{"subprotocol, oddly cased", kit.Upgrade(modes.PathCentrifuge, "Sec-WebSocket-Protocol: Centrifuge-Protobuf").Bytes()},
	{"subprotocols that are no list", kit.Upgrade(modes.PathEcho, "Sec-WebSocket-Protocol: ,", "Origin: http://evil.test").Bytes()},
	{"subprotocols that are no list, in a session", kit.Upgrade(modes.PathCentrifuge, "Sec-WebSocket-Protocol: ,, centrifuge-protobuf,").Bytes()},
	{"lines that end in LF", bytes.ReplaceAll(kit.Upgrade(modes.PathEcho).Bytes(), []byte("\r\n"), []byte("\n"))},
	{"last line ends in LF", append(bytes.TrimSuffix(kit.Upgrade(modes.PathEcho).Bytes(), []byte("\r\n")), '\n')},
	{"whole URL", kit.Upgrade("http://tandem.test" + modes.PathEcho).Bytes()},
	{"path in percents", kit.Upgrade("/%65cho").Bytes()},
	{"fragment", kit.Upgrade(modes.PathEcho + "#x").Bytes()},
	{"version HTTP/1.2", withVersion(kit.Upgrade(modes.PathEcho), "HTTP/1.2").Bytes()},
	{"raw, no channel, foreign origin", kit.Upgrade(modes.PathRaw, "Origin: http://evil.test").Bytes()},
}

func TestFoundRequests(t *testing.T) {
	p := startPair(t, nil)
	for _, test := range foundRequests {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(6) {
				p.handshakes(t, append(test.request, kit.Encode(kit.Text("hello"), kit.Closing(1000, ""))...), seed)
			}
		})
	}
}

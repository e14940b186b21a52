package enginetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

// handshakeRule is one row of the suite of RFC 6455 section 4: a request, and the
// status that it is answered with.
type handshakeRule struct {
	section string
	name    string
	request kit.Request
	status  int
}

var handshakeRules = []handshakeRule{
	{"4.2.1", "plain", kit.Upgrade(modes.PathEcho), 101},
	{"4.2.1", "no other origin", kit.Upgrade(modes.PathEcho, "Origin: http://tandem.test"), 101},
	{"4.2.1", "query ignored", kit.Upgrade(modes.PathEcho + "?a=b"), 101},
	{"4.2.1", "oddly cased names", kit.Upgrade(modes.PathEcho).With("Upgrade", "uPgRaDe: websocket").With("Sec-WebSocket-Key", "sec-websocket-key: "+kit.Key).With("Sec-WebSocket-Version", "SEC-WEBSOCKET-VERSION: 13").With("Host", "hOST: tandem.test"), 101},
	{"4.2.1", "oddly cased upgrade", kit.Upgrade(modes.PathEcho).With("Upgrade", "Upgrade: WebSocket"), 101},
	{"4.2.1", "oddly cased connection", kit.Upgrade(modes.PathEcho).With("Connection", "Connection: uPGRADE"), 101},
	{"4.2.1", "connection in a list", kit.Upgrade(modes.PathEcho).With("Connection", "Connection: keep-alive, Upgrade"), 101},
	{"4.2.1", "connection in two lines", kit.Upgrade(modes.PathEcho).With("Connection", "Connection: keep-alive", "Connection: Upgrade"), 101},
	{"4.2.1", "no space, much space", kit.Upgrade(modes.PathEcho).With("Connection", "Connection:Upgrade").With("Upgrade", "Upgrade:   websocket  "), 101},
	{"4.2.1", "extensions not taken", kit.Upgrade(modes.PathEcho, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), 101},
	{"4.2.1", "cookies, 6 KB of headers", kit.Upgrade(modes.PathEcho, "Cookie: a="+strings.Repeat("x", 6<<10)), 101},
	{"4.2.1", "unknown headers", kit.Upgrade(modes.PathEcho, "X-Forwarded-For: 10.0.0.1", "User-Agent: suite", "Accept-Encoding: gzip", "Empty:"), 101},
	{"4.4", "version 8", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), 426},
	{"4.4", "version 0", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Version", "Sec-WebSocket-Version: 0"), 426},
	{"4.4", "version garbage", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Version", "Sec-WebSocket-Version: x13"), 426},
	{"4.2.1", "no version", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Version"), 400},
	{"4.2.1", "no key", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Key"), 400},
	{"4.2.1", "empty key", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Key", "Sec-WebSocket-Key:"), 400},
	{"4.2.1", "short key", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ="), 400},
	{"4.2.1", "long key", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSBsb25n"), 400},
	{"4.2.1", "key that is no code", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="), 400},
	{"4.2.1", "two keys", kit.Upgrade(modes.PathEcho, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400},
	{"4.2.1", "no upgrade", kit.Upgrade(modes.PathEcho).With("Upgrade"), 426},
	{"4.2.1", "other upgrade", kit.Upgrade(modes.PathEcho).With("Upgrade", "Upgrade: h2c"), 426},
	{"4.2.1", "no connection", kit.Upgrade(modes.PathEcho).With("Connection"), 400},
	{"4.2.1", "other connection", kit.Upgrade(modes.PathEcho).With("Connection", "Connection: keep-alive"), 400},
	{"4.2.1", "almost connection", kit.Upgrade(modes.PathEcho).With("Connection", "Connection: upgrades, no-upgrade"), 400},
	{"4.2.1", "no host", kit.Upgrade(modes.PathEcho).With("Host"), 400},
	{"4.2.1", "HTTP/1.0", withVersion(kit.Upgrade(modes.PathEcho), "HTTP/1.0"), 426},
	{"4.2.1", "POST", withMethod(kit.Upgrade(modes.PathEcho), "POST"), 426},
	{"4.2.1", "plain GET", kit.Request{Method: "GET", Target: modes.PathEcho, Version: "HTTP/1.1", Headers: []string{"Host: tandem.test"}}, 426},
	{"4.2.1", "unknown path", kit.Upgrade("/nowhere"), 404},
	{"4.2.1", "path prefix", kit.Upgrade(modes.PathCentrifuge + "/more"), 404},
	{"4.2.1", "headers in another order", kit.Request{Method: "GET", Target: modes.PathEcho, Version: "HTTP/1.1", Headers: []string{"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + kit.Key, "Connection: Upgrade", "Upgrade: websocket", "Host: tandem.test"}, Body: ""}, 101},
	{"4.2.1", "upgrade in a list", kit.Upgrade(modes.PathEcho).With("Upgrade", "Upgrade: h2c, websocket"), 101},
	{"4.2.1", "upgrade in two lines", kit.Upgrade(modes.PathEcho).With("Upgrade", "Upgrade: h2c", "Upgrade: websocket"), 101},
	{"4.2.1", "connection in a list of many", kit.Upgrade(modes.PathEcho).With("Connection", "Connection: a,b , ,UPGRADE,c"), 101},
	{"4.2.1", "tabs for spaces", kit.Upgrade(modes.PathEcho).With("Upgrade", "Upgrade:\twebsocket\t"), 101},
	{"4.2.1", "host with a port", kit.Upgrade(modes.PathEcho).With("Host", "Host: tandem.test:8080"), 101},
	{"4.2.1", "host that is an address", kit.Upgrade(modes.PathEcho).With("Host", "Host: [::1]:8080"), 101},
	{"4.2.1", "whole URL", kit.Upgrade("http://tandem.test" + modes.PathEcho), 101},
	{"4.2.1", "HTTP/1.2", withVersion(kit.Upgrade(modes.PathEcho), "HTTP/1.2"), 101},
	{"4.2.1", "two hosts", kit.Upgrade(modes.PathEcho, "Host: other.test"), 400},
	{"4.2.1", "empty host", kit.Upgrade(modes.PathEcho).With("Host", "Host:"), 400},
	{"4.2.1", "almost upgrade", kit.Upgrade(modes.PathEcho).With("Upgrade", "Upgrade: websockets"), 426},
	{"4.2.1", "upgrade with a version", kit.Upgrade(modes.PathEcho).With("Upgrade", "Upgrade: websocket/13"), 426},
	{"4.2.1", "key in a list", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Key", "Sec-WebSocket-Key: "+kit.Key+", "+kit.Key), 400},
	{"4.2.1", "key in another base64", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Key", "Sec-WebSocket-Key: _GhlIHNhbXBsZSBub25jZQ=="), 400},
	{"4.2.1", "key without its padding", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), 400},
	{"4.2.1", "the same key twice", kit.Upgrade(modes.PathEcho, "Sec-WebSocket-Key: "+kit.Key), 400},
	{"4.2.1", "body", withBody(kit.Upgrade(modes.PathEcho, "Content-Length: 5"), "hello"), 400},
	{"4.2.1", "method in lower case", withMethod(kit.Upgrade(modes.PathEcho), "get"), 426},
	{"4.4", "version 14", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Version", "Sec-WebSocket-Version: 14"), 426},
	{"4.4", "version 013", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013"), 426},
	{"4.4", "empty version", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Version", "Sec-WebSocket-Version:"), 426},
	{"4.4", "versions in a list", kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8"), 426},
	{"4.4", "versions in two lines", kit.Upgrade(modes.PathEcho, "Sec-WebSocket-Version: 8"), 426},
}

func withVersion(r kit.Request, version string) kit.Request {
	r.Version = version
	return r
}

func withMethod(r kit.Request, method string) kit.Request {
	r.Method = method
	return r
}

func withBody(r kit.Request, body string) kit.Request {
	r.Body = body
	return r
}

// testHandshakeRules sends every request in one segment and byte by byte. One that is
// let in is served; one that is not learns why, and which version would be right.
func testHandshakeRules(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for _, r := range handshakeRules {
		for _, chopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %s/chopped %t", r.section, r.name, chopped), func(t *testing.T) {
				c := n.Dial(t)
				c.Chopped = chopped
				// What is refused may be so before all of it has come.
				if err := c.TryWrite(r.request.Bytes()); err != nil && !kit.Ended(err) {
					t.Fatal(err)
				}
				if r.status == http.StatusSwitchingProtocols {
					c.ExpectUpgrade("")
					c.Send(kit.Text("hello"))
					c.Expect(kit.Text("hello"))
					return
				}
				response := c.ExpectRefusal(r.status)
				if r.status != http.StatusUpgradeRequired {
					return
				}
				for name, want := range map[string]string{"Sec-WebSocket-Version": "13", "Upgrade": "websocket"} {
					if got := response.Header.Get(name); got != want {
						t.Errorf("%s is %q, want what is offered: %q", name, got, want)
					}
				}
			})
		}
	}
}

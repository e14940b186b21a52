package enginetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes"
)

// handshakeRule is one row of the suite of RFC 6455 section 4: a request, and the
// status that it is answered with.
type handshakeRule struct {
	section string
	name    string
	request request
	status  int
}

var handshakeRules = []handshakeRule{
	{"4.2.1", "plain", upgrade(modes.PathEcho), 101},
	{"4.2.1", "no other origin", upgrade(modes.PathEcho, "Origin: http://tandem.test"), 101},
	{"4.2.1", "query ignored", upgrade(modes.PathEcho + "?a=b"), 101},
	{"4.2.1", "oddly cased names", upgrade(modes.PathEcho).with("Upgrade", "uPgRaDe: websocket").with("Sec-WebSocket-Key", "sec-websocket-key: "+key).with("Sec-WebSocket-Version", "SEC-WEBSOCKET-VERSION: 13").with("Host", "hOST: tandem.test"), 101},
	{"4.2.1", "oddly cased upgrade", upgrade(modes.PathEcho).with("Upgrade", "Upgrade: WebSocket"), 101},
	{"4.2.1", "oddly cased connection", upgrade(modes.PathEcho).with("Connection", "Connection: uPGRADE"), 101},
	{"4.2.1", "connection in a list", upgrade(modes.PathEcho).with("Connection", "Connection: keep-alive, Upgrade"), 101},
	{"4.2.1", "connection in two lines", upgrade(modes.PathEcho).with("Connection", "Connection: keep-alive", "Connection: Upgrade"), 101},
	{"4.2.1", "no space, much space", upgrade(modes.PathEcho).with("Connection", "Connection:Upgrade").with("Upgrade", "Upgrade:   websocket  "), 101},
	{"4.2.1", "extensions not taken", upgrade(modes.PathEcho, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), 101},
	{"4.2.1", "cookies, 6 KB of headers", upgrade(modes.PathEcho, "Cookie: a="+strings.Repeat("x", 6<<10)), 101},
	{"4.2.1", "unknown headers", upgrade(modes.PathEcho, "X-Forwarded-For: 10.0.0.1", "User-Agent: suite", "Accept-Encoding: gzip", "Empty:"), 101},
	{"4.4", "version 8", upgrade(modes.PathEcho).with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), 426},
	{"4.4", "version 0", upgrade(modes.PathEcho).with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 0"), 426},
	{"4.4", "version garbage", upgrade(modes.PathEcho).with("Sec-WebSocket-Version", "Sec-WebSocket-Version: x13"), 426},
	{"4.2.1", "no version", upgrade(modes.PathEcho).with("Sec-WebSocket-Version"), 400},
	{"4.2.1", "no key", upgrade(modes.PathEcho).with("Sec-WebSocket-Key"), 400},
	{"4.2.1", "empty key", upgrade(modes.PathEcho).with("Sec-WebSocket-Key", "Sec-WebSocket-Key:"), 400},
	{"4.2.1", "short key", upgrade(modes.PathEcho).with("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ="), 400},
	{"4.2.1", "long key", upgrade(modes.PathEcho).with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSBsb25n"), 400},
	{"4.2.1", "key that is no code", upgrade(modes.PathEcho).with("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="), 400},
	{"4.2.1", "two keys", upgrade(modes.PathEcho, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400},
	{"4.2.1", "no upgrade", upgrade(modes.PathEcho).with("Upgrade"), 426},
	{"4.2.1", "other upgrade", upgrade(modes.PathEcho).with("Upgrade", "Upgrade: h2c"), 426},
	{"4.2.1", "no connection", upgrade(modes.PathEcho).with("Connection"), 400},
	{"4.2.1", "other connection", upgrade(modes.PathEcho).with("Connection", "Connection: keep-alive"), 400},
	{"4.2.1", "almost connection", upgrade(modes.PathEcho).with("Connection", "Connection: upgrades, no-upgrade"), 400},
	{"4.2.1", "no host", upgrade(modes.PathEcho).with("Host"), 400},
	{"4.2.1", "HTTP/1.0", withVersion(upgrade(modes.PathEcho), "HTTP/1.0"), 426},
	{"4.2.1", "POST", withMethod(upgrade(modes.PathEcho), "POST"), 426},
	{"4.2.1", "plain GET", request{method: "GET", target: modes.PathEcho, version: "HTTP/1.1", headers: []string{"Host: tandem.test"}}, 426},
	{"4.2.1", "unknown path", upgrade("/nowhere"), 404},
	{"4.2.1", "path prefix", upgrade(modes.PathCentrifuge + "/more"), 404},
	{"4.2.1", "headers in another order", request{"GET", modes.PathEcho, "HTTP/1.1", []string{"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key, "Connection: Upgrade", "Upgrade: websocket", "Host: tandem.test"}, ""}, 101},
	{"4.2.1", "upgrade in a list", upgrade(modes.PathEcho).with("Upgrade", "Upgrade: h2c, websocket"), 101},
	{"4.2.1", "upgrade in two lines", upgrade(modes.PathEcho).with("Upgrade", "Upgrade: h2c", "Upgrade: websocket"), 101},
	{"4.2.1", "connection in a list of many", upgrade(modes.PathEcho).with("Connection", "Connection: a,b , ,UPGRADE,c"), 101},
	{"4.2.1", "tabs for spaces", upgrade(modes.PathEcho).with("Upgrade", "Upgrade:\twebsocket\t"), 101},
	{"4.2.1", "host with a port", upgrade(modes.PathEcho).with("Host", "Host: tandem.test:8080"), 101},
	{"4.2.1", "host that is an address", upgrade(modes.PathEcho).with("Host", "Host: [::1]:8080"), 101},
	{"4.2.1", "whole URL", upgrade("http://tandem.test" + modes.PathEcho), 101},
	{"4.2.1", "HTTP/1.2", withVersion(upgrade(modes.PathEcho), "HTTP/1.2"), 101},
	{"4.2.1", "two hosts", upgrade(modes.PathEcho, "Host: other.test"), 400},
	{"4.2.1", "empty host", upgrade(modes.PathEcho).with("Host", "Host:"), 400},
	{"4.2.1", "almost upgrade", upgrade(modes.PathEcho).with("Upgrade", "Upgrade: websockets"), 426},
	{"4.2.1", "upgrade with a version", upgrade(modes.PathEcho).with("Upgrade", "Upgrade: websocket/13"), 426},
	{"4.2.1", "key in a list", upgrade(modes.PathEcho).with("Sec-WebSocket-Key", "Sec-WebSocket-Key: "+key+", "+key), 400},
	{"4.2.1", "key in another base64", upgrade(modes.PathEcho).with("Sec-WebSocket-Key", "Sec-WebSocket-Key: _GhlIHNhbXBsZSBub25jZQ=="), 400},
	{"4.2.1", "key without its padding", upgrade(modes.PathEcho).with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), 400},
	{"4.2.1", "the same key twice", upgrade(modes.PathEcho, "Sec-WebSocket-Key: "+key), 400},
	{"4.2.1", "body", withBody(upgrade(modes.PathEcho, "Content-Length: 5"), "hello"), 400},
	{"4.2.1", "method in lower case", withMethod(upgrade(modes.PathEcho), "get"), 426},
	{"4.4", "version 14", upgrade(modes.PathEcho).with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 14"), 426},
	{"4.4", "version 013", upgrade(modes.PathEcho).with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013"), 426},
	{"4.4", "empty version", upgrade(modes.PathEcho).with("Sec-WebSocket-Version", "Sec-WebSocket-Version:"), 426},
	{"4.4", "versions in a list", upgrade(modes.PathEcho).with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8"), 426},
	{"4.4", "versions in two lines", upgrade(modes.PathEcho, "Sec-WebSocket-Version: 8"), 426},
}

func withVersion(r request, version string) request {
	r.version = version
	return r
}

func withMethod(r request, method string) request {
	r.method = method
	return r
}

func withBody(r request, body string) request {
	r.body = body
	return r
}

// testHandshakeRules sends every request in one segment and byte by byte. One that is
// let in is served; one that is not learns why, and which version would be right.
func testHandshakeRules(t *testing.T, build Build) {
	n := start(t, build, nil)
	for _, r := range handshakeRules {
		for _, chopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %s/chopped %t", r.section, r.name, chopped), func(t *testing.T) {
				c := n.dial(t)
				c.chopped = chopped
				// What is refused may be so before all of it has come.
				if err := c.tryWrite(r.request.bytes()); err != nil && !ended(err) {
					t.Fatal(err)
				}
				if r.status == http.StatusSwitchingProtocols {
					c.expectUpgrade("")
					c.send(text("hello"))
					c.expect(text("hello"))
					return
				}
				response := c.expectRefusal(r.status)
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

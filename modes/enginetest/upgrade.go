package enginetest

import (
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// request is an HTTP request in any form. Headers go out in order and as they
// are written here.
type request struct {
	method, target, version string
	headers                 []string
	body                    string
}

// The example key of RFC 6455 section 1.3.
const key = "dGhlIHNhbXBsZSBub25jZQ=="

// accept is what the server must make of a key (RFC 6455 section 4.2.2).
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// upgrade is a correct handshake for target, with more headers.
func upgrade(target string, headers ...string) request {
	return request{method: "GET", target: target, version: "HTTP/1.1", headers: append([]string{
		"Host: tandem.test", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: " + key, "Sec-WebSocket-Version: 13",
	}, headers...)}
}

// with returns the request with the header of that name replaced by headers, or
// left out.
func (r request) with(name string, headers ...string) request {
	kept := make([]string, 0, len(r.headers)+len(headers))
	for _, h := range r.headers {
		if !strings.HasPrefix(h, name+":") {
			kept = append(kept, h)
		}
	}
	r.headers = append(kept, headers...)
	return r
}

// bytes is the request as it is sent.
func (r request) bytes() []byte {
	lines := append([]string{r.method + " " + r.target + " " + r.version}, r.headers...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + r.body)
}

// response reads an HTTP response, and its body unless it is a 101.
func (c *client) response() (*http.Response, string) {
	c.t.Helper()
	r, body, err := c.tryResponse()
	if err != nil {
		c.t.Fatalf("read response: %v", err)
	}
	return r, body
}

// tryResponse is response for a connection that may have ended. It returns the
// response and its body.
func (c *client) tryResponse() (*http.Response, string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, "", err
	}
	r, err := http.ReadResponse(c.in, nil)
	if err != nil || r.StatusCode == http.StatusSwitchingProtocols {
		return r, "", err
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	return r, string(body), err
}

// expectUpgrade reads the response, which must be that of a completed handshake.
func (c *client) expectUpgrade(subprotocol string) {
	c.t.Helper()
	extensions := ""
	if c.deflate {
		extensions = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
		if c.window {
			extensions += "; server_max_window_bits=15"
		}
	}
	r, body := c.response()
	if r.StatusCode != http.StatusSwitchingProtocols {
		c.t.Fatalf("handshake: %s %s, want 101", r.Status, strings.TrimSpace(body))
	}
	for name, want := range map[string]string{
		"Sec-Websocket-Accept": accept(key), "Sec-Websocket-Protocol": subprotocol, "Sec-Websocket-Extensions": extensions,
	} {
		if got := r.Header.Get(name); got != want {
			c.t.Errorf("handshake: header %s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"Upgrade": "websocket", "Connection": "upgrade"} {
		if got := r.Header.Get(name); !strings.EqualFold(got, want) {
			c.t.Errorf("handshake: header %s is %q, want %q", name, got, want)
		}
	}
}

// open connects and completes the handshake for target.
func (n *node) open(t tester, target string, headers ...string) *client {
	t.Helper()
	c := n.dial(t)
	c.handshake(target, headers...)
	return c
}

// handshake completes the handshake for target.
func (c *client) handshake(target string, headers ...string) {
	c.t.Helper()
	if c.deflate {
		headers = append(headers[:len(headers):len(headers)], "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
	}
	c.write(upgrade(target, headers...).bytes())
	subprotocol := ""
	path, _, _ := strings.Cut(target, "?")
	switch {
	case path == modes.PathRaw:
		c.protocol = wire.Raw
	case path == modes.PathEcho:
		c.protocol = wire.Echo
	case strings.Contains(strings.Join(headers, "\n"), wire.ProtobufSubprotocol):
		c.protocol, subprotocol = wire.Protobuf, wire.ProtobufSubprotocol
	}
	c.expectUpgrade(subprotocol)
}

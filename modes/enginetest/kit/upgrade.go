package kit

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

// Request is an HTTP request in any form. Headers go out in order and as they
// are written here.
type Request struct {
	Method, Target, Version string
	Headers                 []string
	Body                    string
}

// Key is the example key of RFC 6455 section 1.3.
const Key = "dGhlIHNhbXBsZSBub25jZQ=="

// Accept is what the server must make of a key (RFC 6455 section 4.2.2).
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Upgrade is a correct handshake for target, with more headers.
func Upgrade(target string, headers ...string) Request {
	return Request{Method: "GET", Target: target, Version: "HTTP/1.1", Headers: append([]string{
		"Host: tandem.test", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: " + Key, "Sec-WebSocket-Version: 13",
	}, headers...)}
}

// With returns the request with the header of that name replaced by headers, or
// left out.
func (r Request) With(name string, headers ...string) Request {
	kept := make([]string, 0, len(r.Headers)+len(headers))
	for _, h := range r.Headers {
		if !strings.HasPrefix(h, name+":") {
			kept = append(kept, h)
		}
	}
	r.Headers = append(kept, headers...)
	return r
}

// Bytes is the request as it is sent.
func (r Request) Bytes() []byte {
	lines := append([]string{r.Method + " " + r.Target + " " + r.Version}, r.Headers...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + r.Body)
}

// Response reads an HTTP response, and its body unless it is a 101.
func (c *Client) Response() (*http.Response, string) {
	c.T.Helper()
	r, body, err := c.TryResponse()
	if err != nil {
		c.T.Fatalf("read response: %v", err)
	}
	return r, body
}

// TryResponse is Response for a connection that may have ended. It returns the
// response and its body.
func (c *Client) TryResponse() (*http.Response, string, error) {
	c.T.Helper()
	return c.TryResponseTo(http.MethodGet)
}

// TryResponseTo is TryResponse for a request with this method, which decides whether
// the response has a body.
func (c *Client) TryResponseTo(method string) (*http.Response, string, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return nil, "", err
	}
	r, err := http.ReadResponse(c.In, &http.Request{Method: method})
	if err != nil || r.StatusCode == http.StatusSwitchingProtocols {
		return r, "", err
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	return r, string(body), err
}

// ExpectUpgrade reads the response, which must be that of a completed handshake.
func (c *Client) ExpectUpgrade(subprotocol string) {
	c.T.Helper()
	extensions := ""
	if c.Deflate {
		extensions = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
		if c.Window {
			extensions += "; server_max_window_bits=15"
		}
	}
	r, body := c.Response()
	if r.StatusCode != http.StatusSwitchingProtocols {
		c.T.Fatalf("handshake: %s %s, want 101", r.Status, strings.TrimSpace(body))
	}
	for name, want := range map[string]string{
		"Sec-Websocket-Accept": Accept(Key), "Sec-Websocket-Protocol": subprotocol, "Sec-Websocket-Extensions": extensions,
	} {
		if got := r.Header.Get(name); got != want {
			c.T.Errorf("handshake: header %s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"Upgrade": "websocket", "Connection": "upgrade"} {
		if got := r.Header.Get(name); !strings.EqualFold(got, want) {
			c.T.Errorf("handshake: header %s is %q, want %q", name, got, want)
		}
	}
}

// Open connects and completes the handshake for target.
func (n *Node) Open(t Tester, target string, headers ...string) *Client {
	t.Helper()
	c := n.Dial(t)
	c.Handshake(target, headers...)
	return c
}

// Handshake completes the handshake for target.
func (c *Client) Handshake(target string, headers ...string) {
	c.T.Helper()
	if c.Deflate {
		headers = append(headers[:len(headers):len(headers)], "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
	}
	c.Write(Upgrade(target, headers...).Bytes())
	subprotocol := ""
	path, _, _ := strings.Cut(target, "?")
	switch {
	case path == modes.PathRaw:
		c.Protocol = wire.Raw
	case path == modes.PathEcho:
		c.Protocol = wire.Echo
	case strings.Contains(strings.Join(headers, "\n"), wire.ProtobufSubprotocol):
		c.Protocol, subprotocol = wire.Protobuf, wire.ProtobufSubprotocol
	}
	c.ExpectUpgrade(subprotocol)
}

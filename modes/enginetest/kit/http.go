package kit

import (
	"fmt"
	"net/http"
	"strings"
)

// Plain is a request that is for no endpoint of the engine.
func Plain(method, body string, headers ...string) Request {
	headers = append([]string{"Host: tandem.test"}, headers...)
	if body != "" {
		headers = append(headers, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	return Request{Method: method, Target: "/plain?x=y", Version: "HTTP/1.1", Headers: headers, Body: body}
}

// ExpectPlain reads the answer of plainHandler.
func (c *Client) ExpectPlain(method, number, body string) {
	c.T.Helper()
	r, got := c.Response()
	want := fmt.Sprintf("%s /plain?x=y %s %d %s", method, number, len(body), body)
	if r.StatusCode != http.StatusOK || got != want {
		c.T.Fatalf("got %s %s, want 200 %s", r.Status, Brief([]byte(got)), Brief([]byte(want)))
	}
}

// ExpectRefusal reads the response, which must have this status, and a line
// that gives the reason.
func (c *Client) ExpectRefusal(status int) *http.Response {
	c.T.Helper()
	r, body := c.Response()
	if r.StatusCode != status {
		c.T.Fatalf("got %s %s, want %d", r.Status, strings.TrimSpace(body), status)
	}
	if strings.TrimSpace(body) == "" {
		c.T.Errorf("status %d without a line that says why", status)
	}
	return r
}

// ExpectTimeout waits until the server gives up on a handshake. It may say so
// first: with 408, or with 400, for half a request is none.
func (c *Client) ExpectTimeout() {
	c.T.Helper()
	r, _, err := c.TryResponse()
	if err != nil {
		if !Ended(err) {
			c.T.Fatalf("the connection did not end: %v", err)
		}
		return
	}
	if r.StatusCode != http.StatusRequestTimeout && r.StatusCode != http.StatusBadRequest {
		c.T.Fatalf("got %s, want 408, 400, or the end of the connection", r.Status)
	}
	c.ExpectEnd()
}

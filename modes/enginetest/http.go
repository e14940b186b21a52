package enginetest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
)

var httpCases = []suiteCase{
	{"http/requests", testPlainRequests},
	{"http/keep-alive", testKeepAlive},
	{"http/pipelined", testPipelined},
	{"http/connection close", testConnectionClose},
	{"http/expect continue", testExpectContinue},
	{"http/not counted", testPlainNotCounted},
	{"http/body that never comes", testBodyNeverComes},
	{"http/answers never read", testAnswersNeverRead},
	{"http/slow body", testSlowBody},
	{"http/a stream outlives the timeouts", testStreamOutlivesTimeouts},
}

// plain is a request that is for no endpoint of the engine.
func plain(method, body string, headers ...string) request {
	headers = append([]string{"Host: tandem.test"}, headers...)
	if body != "" {
		headers = append(headers, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	return request{method: method, target: "/plain?x=y", version: "HTTP/1.1", headers: headers, body: body}
}

// expectPlain reads the answer of plainHandler.
func (c *client) expectPlain(method, number, body string) {
	c.t.Helper()
	r, got := c.response()
	want := fmt.Sprintf("%s /plain?x=y %s %d %s", method, number, len(body), body)
	if r.StatusCode != http.StatusOK || got != want {
		c.t.Fatalf("got %s %s, want 200 %s", r.Status, brief([]byte(got)), brief([]byte(want)))
	}
}

func testPlainRequests(t *testing.T, build Build) {
	n := start(t, build, nil)
	large := strings.Repeat("0123456789abcdef", 16<<10)
	for _, test := range []struct {
		name    string
		request request
		method  string
		body    string
	}{
		{"GET", plain("GET", ""), "GET", ""},
		{"POST", plain("POST", `{"a":1}`), "POST", `{"a":1}`},
		{"large POST", plain("POST", large), "POST", large},
		{"chunked", request{"POST", "/plain?x=y", "HTTP/1.1", []string{"Host: a", "Transfer-Encoding: chunked"},
			"4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n"}, "POST", "wikipedia"},
		{"HTTP/1.0", withVersion(plain("GET", ""), "HTTP/1.0"), "GET", ""},
	} {
		for _, chopped := range []bool{false, true} {
			if chopped && test.body == large {
				continue
			}
			t.Run(fmt.Sprintf("%s/chopped %t", test.name, chopped), func(t *testing.T) {
				c := n.dial(t)
				c.chopped = chopped
				c.write(test.request.bytes())
				c.expectPlain(test.method, "", test.body)
			})
		}
	}
	t.Run("not found", func(t *testing.T) {
		c := n.dial(t)
		r := plain("GET", "")
		r.target = "/nowhere"
		c.write(r.bytes())
		c.expectRefusal(http.StatusNotFound)
	})
	t.Run("body later", func(t *testing.T) {
		c := n.dial(t)
		whole := plain("POST", "in two parts").bytes()
		c.write(whole[:len(whole)-6])
		c.write(whole[len(whole)-6:])
		c.expectPlain("POST", "", "in two parts")
	})
}

func testKeepAlive(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.dial(t)
	for i := range 5 {
		number := fmt.Sprint(i)
		c.write(plain("GET", "", "X-Case: "+number).bytes())
		c.expectPlain("GET", number, "")
		c.write(plain("POST", "body "+number, "X-Case: "+number).bytes())
		c.expectPlain("POST", number, "body "+number)
	}
}

func testPipelined(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.dial(t)
	var all []byte
	for i := range 5 {
		all = append(all, plain("POST", strings.Repeat("b", i+1), fmt.Sprintf("X-Case: %d", i)).bytes()...)
	}
	c.write(all)
	for i := range 5 {
		c.expectPlain("POST", fmt.Sprint(i), strings.Repeat("b", i+1))
	}
}

func testConnectionClose(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.dial(t)
	c.write(plain("GET", "", "Connection: close").bytes())
	c.expectPlain("GET", "", "")
	c.expectCleanEnd()
}

func testExpectContinue(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.dial(t)
	whole := plain("POST", "after the answer", "Expect: 100-continue").bytes()
	c.write(whole[:len(whole)-len("after the answer")])
	if r, _ := c.response(); r.StatusCode != http.StatusContinue {
		t.Fatalf("got %s, want 100", r.Status)
	}
	c.write([]byte("after the answer"))
	c.expectPlain("POST", "", "after the answer")
}

// A plain request is not a connection: it counts against no limit.
func testPlainNotCounted(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.admission.MaxConnections = 1 })
	for range 3 {
		c := n.dial(t)
		c.write(plain("GET", "").bytes())
		c.expectPlain("GET", "", "")
	}
	c := n.open(t, modes.PathEcho)
	c.send(text("in"))
	c.expect(text("in"))
}

// impatient makes requests end soon, and leaves a client on a busy machine time for
// one.
func impatient(s *setup) { s.limits.HandshakeTimeout = 2 * time.Second }

// A request is bounded, its body included.
func testBodyNeverComes(t *testing.T, build Build) {
	n := start(t, build, impatient)
	for _, target := range []string{"/plain", "/nowhere", modes.PathCentrifuge, modes.PathRaw, modes.PathSSE, modes.PathEcho} {
		for _, length := range []string{"Content-Length: 5", "Content-Length: 10000000", "Transfer-Encoding: chunked"} {
			t.Run(target+"/"+length, func(t *testing.T) {
				t.Parallel()
				c := n.dial(t)
				c.write(request{method: "POST", target: target, version: "HTTP/1.1", headers: []string{"Host: a", length}}.bytes())
				c.awaitEnd()
				// After an answer, too.
				c = n.dial(t)
				c.write(plain("GET", "").bytes())
				c.expectPlain("GET", "", "")
				c.write(request{method: "POST", target: target, version: "HTTP/1.1", headers: []string{"Host: a", length}}.bytes())
				c.awaitEnd()
			})
		}
	}
}

// awaitEnd reads until the connection has ended.
func (c *client) awaitEnd() {
	c.t.Helper()
	for {
		if _, _, err := c.tryResponse(); ended(err) {
			return
		} else if err != nil {
			c.t.Fatalf("the connection did not end: %v", err)
		}
	}
}

// An answer that is not taken holds its connection no longer than a request would.
func testAnswersNeverRead(t *testing.T, build Build) {
	n := start(t, build, impatient)
	large := request{method: "GET", target: "/large", version: "HTTP/1.1", headers: []string{"Host: a"}}
	for name, requests := range map[string][]byte{
		"many small": bytes.Repeat(plain("GET", "").bytes(), 20_000), "large": bytes.Repeat(large.bytes(), 400),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.dialNarrow(t)
			for deadline := time.Now().Add(patience); ; {
				// The server stops to read, and then ends.
				if err := c.tryWrite(requests); err != nil {
					if !ended(err) {
						t.Fatalf("the connection did not end: %v", err)
					}
					return
				}
				if time.Now().After(deadline) {
					t.Fatal("the server takes requests for whose answers there is no room")
				}
			}
		})
	}
}

func testSlowBody(t *testing.T, build Build) {
	n := start(t, build, impatient)
	c := n.dial(t)
	c.write(request{method: "POST", target: "/plain", version: "HTTP/1.1", headers: []string{"Host: a", "Content-Length: 1000000"}}.bytes())
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); c.tryWrite([]byte("x")) == nil; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("a body that never ends is read for ever")
		}
	}
}

// The timeouts are those of requests, not of streams, nor of handshakes that wait for
// Redis.
func testStreamOutlivesTimeouts(t *testing.T, build Build) {
	n := start(t, build, impatient)
	c := n.openStream(t, modes.PathSSE+"?channel=news")
	release := n.bus.hold("held")
	waiting, refused := n.dial(t), n.dial(t)
	waiting.write(upgrade(modes.PathRaw + "?channel=held").bytes())
	n.bus.awaitWaiting(t, "held")
	refused.write(get(modes.PathSSE + "?channel=held").bytes())
	// Another's request times out four times, one after the other.
	for range 4 {
		n.expectHalfRequestEnds(t)
	}
	n.bus.publish("news", "1")
	c.expectEvent("1")
	release(errRefused)
	waiting.expectRefusal(http.StatusServiceUnavailable)
	refused.expectRefusal(http.StatusServiceUnavailable)
}

// expectHalfRequestEnds takes as long as a handshake may.
func (n *node) expectHalfRequestEnds(t tester) {
	t.Helper()
	c := n.dial(t)
	c.write([]byte("GET /plain HTTP/1.1\r\n"))
	c.expectTimeout()
}

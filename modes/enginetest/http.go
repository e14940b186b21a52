package enginetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes"
)

var httpCases = []suiteCase{
	{"http/requests", testPlainRequests},
	{"http/keep-alive", testKeepAlive},
	{"http/pipelined", testPipelined},
	{"http/connection close", testConnectionClose},
	{"http/expect continue", testExpectContinue},
	{"http/not counted", testPlainNotCounted},
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

// A plain request is no connection: it counts against no limit.
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

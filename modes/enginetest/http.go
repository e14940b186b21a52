package enginetest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
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

func testPlainRequests(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	large := strings.Repeat("0123456789abcdef", 16<<10)
	for _, test := range []struct {
		name    string
		request kit.Request
		method  string
		body    string
	}{
		{"GET", kit.Plain("GET", ""), "GET", ""},
		{"POST", kit.Plain("POST", `{"a":1}`), "POST", `{"a":1}`},
		{"large POST", kit.Plain("POST", large), "POST", large},
		{"chunked", kit.Request{Method: "POST", Target: "/plain?x=y", Version: "HTTP/1.1", Headers: []string{"Host: a", "Transfer-Encoding: chunked"},
			Body: "4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n"}, "POST", "wikipedia"},
		{"HTTP/1.0", withVersion(kit.Plain("GET", ""), "HTTP/1.0"), "GET", ""},
	} {
		for _, chopped := range []bool{false, true} {
			if chopped && test.body == large {
				continue
			}
			t.Run(fmt.Sprintf("%s/chopped %t", test.name, chopped), func(t *testing.T) {
				c := n.Dial(t)
				c.Chopped = chopped
				c.Write(test.request.Bytes())
				c.ExpectPlain(test.method, "", test.body)
			})
		}
	}
	t.Run("not found", func(t *testing.T) {
		c := n.Dial(t)
		r := kit.Plain("GET", "")
		r.Target = "/nowhere"
		c.Write(r.Bytes())
		c.ExpectRefusal(http.StatusNotFound)
	})
	t.Run("body later", func(t *testing.T) {
		c := n.Dial(t)
		whole := kit.Plain("POST", "in two parts").Bytes()
		c.Write(whole[:len(whole)-6])
		c.Write(whole[len(whole)-6:])
		c.ExpectPlain("POST", "", "in two parts")
	})
}

func testKeepAlive(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Dial(t)
	for i := range 5 {
		number := fmt.Sprint(i)
		c.Write(kit.Plain("GET", "", "X-Case: "+number).Bytes())
		c.ExpectPlain("GET", number, "")
		c.Write(kit.Plain("POST", "body "+number, "X-Case: "+number).Bytes())
		c.ExpectPlain("POST", number, "body "+number)
	}
}

func testPipelined(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Dial(t)
	var all []byte
	for i := range 5 {
		all = append(all, kit.Plain("POST", strings.Repeat("b", i+1), fmt.Sprintf("X-Case: %d", i)).Bytes()...)
	}
	c.Write(all)
	for i := range 5 {
		c.ExpectPlain("POST", fmt.Sprint(i), strings.Repeat("b", i+1))
	}
}

func testConnectionClose(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Dial(t)
	c.Write(kit.Plain("GET", "", "Connection: close").Bytes())
	c.ExpectPlain("GET", "", "")
	c.ExpectCleanEnd()
}

func testExpectContinue(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Dial(t)
	whole := kit.Plain("POST", "after the answer", "Expect: 100-continue").Bytes()
	c.Write(whole[:len(whole)-len("after the answer")])
	if r, _ := c.Response(); r.StatusCode != http.StatusContinue {
		t.Fatalf("got %s, want 100", r.Status)
	}
	c.Write([]byte("after the answer"))
	c.ExpectPlain("POST", "", "after the answer")
}

// A plain request is not a connection: it counts against no limit.
func testPlainNotCounted(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Admission.MaxConnections = 1 })
	for range 3 {
		c := n.Dial(t)
		c.Write(kit.Plain("GET", "").Bytes())
		c.ExpectPlain("GET", "", "")
	}
	c := n.Open(t, modes.PathEcho)
	c.Send(kit.Text("in"))
	c.Expect(kit.Text("in"))
}

// impatient makes requests end soon, and leaves a client on a busy machine time for
// one.
func impatient(s *kit.Setup) { s.Limits.HandshakeTimeout = 2 * time.Second }

// A request is bounded, its body included.
func testBodyNeverComes(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, impatient)
	for _, target := range []string{"/plain", "/nowhere", modes.PathCentrifuge, modes.PathRaw, modes.PathSSE, modes.PathEcho} {
		for _, length := range []string{"Content-Length: 5", "Content-Length: 10000000", "Transfer-Encoding: chunked"} {
			t.Run(target+"/"+length, func(t *testing.T) {
				t.Parallel()
				c := n.Dial(t)
				c.Write(kit.Request{Method: "POST", Target: target, Version: "HTTP/1.1", Headers: []string{"Host: a", length}}.Bytes())
				awaitEnd(c)
				// After an answer, too.
				c = n.Dial(t)
				c.Write(kit.Plain("GET", "").Bytes())
				c.ExpectPlain("GET", "", "")
				c.Write(kit.Request{Method: "POST", Target: target, Version: "HTTP/1.1", Headers: []string{"Host: a", length}}.Bytes())
				awaitEnd(c)
			})
		}
	}
}

// awaitEnd reads until the connection has ended.
func awaitEnd(c *kit.Client) {
	c.T.Helper()
	for {
		if _, _, err := c.TryResponse(); kit.Ended(err) {
			return
		} else if err != nil {
			c.T.Fatalf("the connection did not end: %v", err)
		}
	}
}

// An answer that is not taken holds its connection no longer than a request would.
func testAnswersNeverRead(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, impatient)
	large := kit.Request{Method: "GET", Target: "/large", Version: "HTTP/1.1", Headers: []string{"Host: a"}}
	for name, requests := range map[string][]byte{
		"many small": bytes.Repeat(kit.Plain("GET", "").Bytes(), 20_000), "large": bytes.Repeat(large.Bytes(), 400),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.DialNarrow(t)
			for deadline := time.Now().Add(kit.Patience); ; {
				// The server stops to read, and then ends.
				if err := c.TryWrite(requests); err != nil {
					if !kit.Ended(err) {
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

func testSlowBody(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, impatient)
	c := n.Dial(t)
	c.Write(kit.Request{Method: "POST", Target: "/plain", Version: "HTTP/1.1", Headers: []string{"Host: a", "Content-Length: 1000000"}}.Bytes())
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(kit.Patience); c.TryWrite([]byte("x")) == nil; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("a body that never ends is read for ever")
		}
	}
}

// The timeouts are those of requests, not of streams, nor of handshakes that wait for
// Redis.
func testStreamOutlivesTimeouts(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, impatient)
	c := n.OpenStream(t, modes.PathSSE+"?channel=news")
	release := n.Bus.Hold("held")
	waiting, refused := n.Dial(t), n.Dial(t)
	waiting.Write(kit.Upgrade(modes.PathRaw + "?channel=held").Bytes())
	n.Bus.AwaitWaiting(t, "held")
	refused.Write(kit.Get(modes.PathSSE + "?channel=held").Bytes())
	// Another's request times out four times, one after the other.
	for range 4 {
		expectHalfRequestEnds(n, t)
	}
	n.Bus.Send("news", "1")
	c.ExpectEvent("1")
	release(kit.ErrRefused)
	waiting.ExpectRefusal(http.StatusServiceUnavailable)
	refused.ExpectRefusal(http.StatusServiceUnavailable)
}

// expectHalfRequestEnds takes as long as a handshake may.
func expectHalfRequestEnds(n *kit.Node, t kit.Tester) {
	t.Helper()
	c := n.Dial(t)
	c.Write([]byte("GET /plain HTTP/1.1\r\n"))
	c.ExpectTimeout()
}

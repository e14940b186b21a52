package enginetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var refusalCases = []suiteCase{
	{"refusal/echo is closed by default", testEchoClosed},
	{"refusal/malformed HTTP", testMalformedHTTP},
	{"refusal/not HTTP", testNotHTTP},
	{"refusal/header size", testHeaderSize},
	{"refusal/host and origins", testHostAndOrigins},
	{"refusal/oversized headers", testOversizedHeaders},
	{"refusal/never-ending headers", testEndlessHeaders},
	{"refusal/half a handshake", testHalfHandshake},
	{"refusal/no connect command", testNoConnect},
	{"refusal/half a message", testHalfMessage},
}

// expectRefusal reads the response, which must have this status, and a line
// that gives the reason.
func (c *client) expectRefusal(status int) *http.Response {
	c.t.Helper()
	r, body := c.response()
	if r.StatusCode != status {
		c.t.Fatalf("got %s %s, want %d", r.Status, strings.TrimSpace(body), status)
	}
	if strings.TrimSpace(body) == "" {
		c.t.Errorf("status %d without a line that says why", status)
	}
	return r
}

func testEchoClosed(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.echo = false })
	c := n.dial(t)
	c.write(upgrade(modes.PathEcho).bytes())
	c.expectRefusal(http.StatusNotFound)
}

// malformedRequests are not HTTP, or must not be answered with success.
var malformedRequests = map[string]string{
	"no HTTP":          "hello\r\n\r\n",
	"TLS":              "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
	"no version":       "GET /echo\r\n\r\n",
	"HTTP/2":           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"header, no colon": "GET /echo HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
	"NUL in a header":  "GET /echo HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
	"space in a name":  "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade : websocket\r\n\r\n",
	"folded header":    "GET /echo HTTP/1.1\r\n Host: a\r\n\r\n",
	"empty lines only": strings.Repeat("\r\n", 100),
}

func testMalformedHTTP(t *testing.T, build Build) {
	n := start(t, build, nil)
	for name, bytes := range malformedRequests {
		t.Run(name, func(t *testing.T) {
			c := n.dial(t)
			c.write([]byte(bytes))
			if err := c.conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			r, _, err := c.tryResponse()
			switch {
			case err != nil && !ended(err):
				t.Errorf("neither an answer nor an end: %v", err)
			case err == nil && (r.StatusCode < 400 || r.StatusCode >= 600):
				t.Errorf("got %s, want an error or the end of the connection", r.Status)
			}
		})
	}
	n.open(t, modes.PathEcho)
}

// notHTTP is what other protocols begin with. Nothing more comes before the answer,
// which does not wait for it.
var notHTTP = map[string]string{
	"TLS":                    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x55", 300),
	"TLS, with line ends":    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\n\r\n", 20),
	"TLS, a byte":            "\x16",
	"SSH":                    "SSH-2.0-OpenSSH_9.7\r\n",
	"PROXY v1":               "PROXY TCP4 192.0.2.1 192.0.2.2 40000 8080\r\n",
	"PROXY v2":               "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c",
	"SMTP":                   "EHLO example.com\r\n",
	"Redis":                  "*1\r\n$4\r\nPING\r\n",
	"PostgreSQL":             "\x00\x00\x00\x08\x04\xd2\x16\x2f",
	"MQTT":                   "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
	"HTTP/0.9":               "GET /\r\n",
	"a frame of a WebSocket": string(encode(text("hello"))),
	"a line without a colon": "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n",
	"an empty line first":    "\r\nGET / HTTP/1.1\r\n",
	"no end of a method":     strings.Repeat("A", 1000),
}

func testNotHTTP(t *testing.T, build Build) {
	n := start(t, build, nil)
	for name, bytes := range notHTTP {
		for _, chopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/chopped %t", name, chopped), func(t *testing.T) {
				c := n.dial(t)
				c.chopped = chopped
				// It may be refused before all of it has come.
				if err := c.tryWrite([]byte(bytes)); err != nil && !ended(err) {
					t.Fatal(err)
				}
				r, _, err := c.tryResponse()
				if err != nil && chopped && ended(err) {
					// The reset on what came late has overtaken the answer.
					return
				}
				if err != nil || r.StatusCode != http.StatusBadRequest {
					t.Fatalf("got %v, %v, want 400", r, err)
				}
				c.expectEnd()
			})
		}
	}
}

// testHeaderSize: the limit is the operator's, and the same for the first request of a
// connection and for a later one.
func testHeaderSize(t *testing.T, build Build) {
	for _, size := range []int{0, 20_000, 100_000} {
		n := start(t, build, func(s *setup) { s.limits.MaxHeaderSize = size })
		limit := max(size, modes.DefaultMaxHeaderSize)
		padded := func(r request, to int) []byte {
			r.headers = append(r.headers[:len(r.headers):len(r.headers)], "Cookie: ")
			r.headers[len(r.headers)-1] += strings.Repeat("x", to-len(r.bytes()))
			return r.bytes()
		}
		t.Run(fmt.Sprintf("%d/at the limit", size), func(t *testing.T) {
			c := n.dial(t)
			c.write(padded(upgrade(modes.PathEcho), limit))
			c.expectUpgrade("")
			c = n.dial(t)
			c.write(padded(plain("GET", ""), limit))
			c.expectPlain("GET", "", "")
			c.write(padded(upgrade(modes.PathEcho), limit))
			c.expectUpgrade("")
			c.send(text("in"))
			c.expect(text("in"))
		})
		t.Run(fmt.Sprintf("%d/beyond it", size), func(t *testing.T) {
			for _, r := range []request{upgrade(modes.PathEcho), plain("GET", ""), get(modes.PathSSE + "?channel=a")} {
				c := n.dial(t)
				c.write(padded(r, limit+1))
				c.expectRefusal(http.StatusRequestHeaderFieldsTooLarge)
			}
		})
	}
}

// testHostAndOrigins: what is wrong with Host and Origin is so for every endpoint.
func testHostAndOrigins(t *testing.T, build Build) {
	n := start(t, build, nil)
	for target, handshake := range map[string]bool{
		"/plain": false, "/nowhere": false, modes.PathSSE + "?channel=a": false, modes.PathStream + "?channel=a": false,
		modes.PathRaw + "?channel=a": true, modes.PathEcho: true, modes.PathCentrifuge: true,
	} {
		r := get(target)
		if handshake {
			r = upgrade(target)
		}
		for name, host := range map[string][]string{
			"a slash": {"Host: a/b"}, "a space": {"Host: a b"}, "a user": {"Host: u@a"}, "a query": {"Host: a?b"}, "two": {"Host: a", "Host: a"}, "none": nil,
		} {
			t.Run(target+"/host/"+name, func(t *testing.T) {
				c := n.dial(t)
				c.write(r.with("Host", host...).bytes())
				c.expectRefusal(http.StatusBadRequest)
			})
		}
		if target[0:2] == "/p" || target[0:2] == "/n" {
			continue
		}
		t.Run(target+"/origins", func(t *testing.T) {
			for _, second := range []string{"http://tandem.test", "http://evil.test"} {
				c := n.dial(t)
				c.write(r.with("Origin", "Origin: http://tandem.test", "Origin: "+second).bytes())
				c.expectRefusal(http.StatusForbidden)
			}
		})
	}
}

func testOversizedHeaders(t *testing.T, build Build) {
	n := start(t, build, nil)
	for name, r := range map[string]request{
		"one header":   upgrade(modes.PathEcho, "Cookie: a="+strings.Repeat("x", 2*modes.DefaultMaxHeaderSize)),
		"many headers": upgrade(modes.PathEcho, strings.Split(strings.Repeat("X-Y: z\n", modes.DefaultMaxHeaderSize/2), "\n")[:modes.DefaultMaxHeaderSize/2]...),
		"target":       upgrade(modes.PathEcho + "?" + strings.Repeat("x", 2*modes.DefaultMaxHeaderSize)),
	} {
		t.Run(name, func(t *testing.T) {
			c := n.dial(t)
			c.write(r.bytes())
			c.expectRefusal(http.StatusRequestHeaderFieldsTooLarge)
			c.expectEnd()
		})
	}
	awaitCount(t, n.stats.Accepted, wire.Echo.String(), 0)
}

func testEndlessHeaders(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.dial(t)
	c.write([]byte("GET /echo HTTP/1.1\r\nHost: tandem.test\r\n"))
	line := []byte(strings.Repeat("X-More: "+strings.Repeat("y", 1014)+"\r\n", 64))
	for deadline := time.Now().Add(patience); ; {
		if err := c.tryWrite(line); err != nil {
			if !ended(err) {
				t.Fatalf("write: %v", err)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server reads headers for %v", patience)
		}
	}
}

// An unfinished handshake ends at its deadline, whether the client is silent or
// dribbles.
func testHalfHandshake(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.HandshakeTimeout = shortTimeout })
	whole := upgrade(modes.PathEcho).bytes()
	for name, part := range map[string][]byte{
		"nothing": nil, "a byte": whole[:1], "a line": whole[:20], "all but a byte": whole[:len(whole)-1],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.dial(t)
			c.write(part)
			c.expectTimeout()
		})
	}
	t.Run("dribble", func(t *testing.T) {
		t.Parallel()
		c := n.dial(t)
		c.write(whole[:len(whole)-4])
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		wait := background(t, 1, func(t tester, _ int) {
			header := []byte("\r\nX-Slow: ")
			for i := 0; ; i++ {
				<-tick.C
				// The end of the connection shows on either side first.
				if err := c.tryWrite(header[i%len(header) : i%len(header)+1]); err != nil {
					return
				}
			}
		})
		c.expectTimeout()
		c.leave()
		wait()
	})
}

// expectTimeout waits until the server gives up on a handshake. It may say so
// first: with 408, or with 400, for half a request is none.
func (c *client) expectTimeout() {
	c.t.Helper()
	r, _, err := c.tryResponse()
	if err != nil {
		if !ended(err) {
			c.t.Fatalf("the connection did not end: %v", err)
		}
		return
	}
	if r.StatusCode != http.StatusRequestTimeout && r.StatusCode != http.StatusBadRequest {
		c.t.Fatalf("got %s, want 408, 400, or the end of the connection", r.Status)
	}
	c.expectEnd()
}

func testNoConnect(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.HandshakeTimeout = shortTimeout })
	silent := n.open(t, modes.PathCentrifuge)
	echo := n.open(t, modes.PathEcho)
	raw := n.open(t, modes.PathRaw+"?channel=news")
	connected := n.session(t)
	silent.expectClose(int(wire.DisconnectStale.Code))
	n.awaitDisconnects(t, wire.DisconnectStale.Reason, 1)
	// The deadline is that of the connect command only.
	connected.roundTrip()
	echo.send(text("still here"))
	echo.expect(text("still here"))
	n.bus.publish("news", "still here")
	raw.expect(text("still here"))
}

// A message that never ends holds a buffer, so it has a deadline, too. The client
// may come back: its link may be what is slow.
func testHalfMessage(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.limits.HandshakeTimeout = shortTimeout })
	whole := encode(text("never all of it"))
	for name, part := range map[string][]byte{
		"half a header":  whole[:1],
		"a header":       whole[:6],
		"half a payload": whole[:10],
		"half a message": encode(frame{op: 1, body: []byte("begun"), more: true}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.open(t, modes.PathEcho)
			c.send(text("whole"))
			c.expect(text("whole"))
			c.write(part)
			c.expectClose(int(wire.DisconnectSlow.Code))
		})
	}
}

package enginetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
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

func testEchoClosed(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Echo = false })
	c := n.Dial(t)
	c.Write(kit.Upgrade(modes.PathEcho).Bytes())
	c.ExpectRefusal(http.StatusNotFound)
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

func testMalformedHTTP(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for name, bytes := range malformedRequests {
		t.Run(name, func(t *testing.T) {
			c := n.Dial(t)
			c.Write([]byte(bytes))
			if err := c.Conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			r, _, err := c.TryResponse()
			switch {
			case err != nil && !kit.Ended(err):
				t.Errorf("neither an answer nor an end: %v", err)
			case err == nil && (r.StatusCode < 400 || r.StatusCode >= 600):
				t.Errorf("got %s, want an error or the end of the connection", r.Status)
			}
		})
	}
	n.Open(t, modes.PathEcho)
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
	"a frame of a WebSocket": string(kit.Encode(kit.Text("hello"))),
	"a line without a colon": "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n",
	"an empty line first":    "\r\nGET / HTTP/1.1\r\n",
	"no end of a method":     strings.Repeat("A", 1000),
}

func testNotHTTP(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for name, bytes := range notHTTP {
		for _, chopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/chopped %t", name, chopped), func(t *testing.T) {
				c := n.Dial(t)
				c.Chopped = chopped
				// It may be refused before all of it has come.
				if err := c.TryWrite([]byte(bytes)); err != nil && !kit.Ended(err) {
					t.Fatal(err)
				}
				r, _, err := c.TryResponse()
				if err != nil && chopped && kit.Ended(err) {
					// The reset on what came late has overtaken the answer.
					return
				}
				if err != nil || r.StatusCode != http.StatusBadRequest {
					t.Fatalf("got %v, %v, want 400", r, err)
				}
				c.ExpectEnd()
			})
		}
	}
}

// testHeaderSize: the limit is the operator's, and the same for the first request of a
// connection and for a later one.
func testHeaderSize(t *testing.T, build kit.Build) {
	for _, size := range []int{0, 20_000, 100_000} {
		n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.MaxHeaderSize = size })
		limit := max(size, modes.DefaultMaxHeaderSize)
		padded := func(r kit.Request, to int) []byte {
			r.Headers = append(r.Headers[:len(r.Headers):len(r.Headers)], "Cookie: ")
			r.Headers[len(r.Headers)-1] += strings.Repeat("x", to-len(r.Bytes()))
			return r.Bytes()
		}
		t.Run(fmt.Sprintf("%d/at the limit", size), func(t *testing.T) {
			c := n.Dial(t)
			c.Write(padded(kit.Upgrade(modes.PathEcho), limit))
			c.ExpectUpgrade("")
			c = n.Dial(t)
			c.Write(padded(kit.Plain("GET", ""), limit))
			c.ExpectPlain("GET", "", "")
			c.Write(padded(kit.Upgrade(modes.PathEcho), limit))
			c.ExpectUpgrade("")
			c.Send(kit.Text("in"))
			c.Expect(kit.Text("in"))
		})
		t.Run(fmt.Sprintf("%d/beyond it", size), func(t *testing.T) {
			for _, r := range []kit.Request{kit.Upgrade(modes.PathEcho), kit.Plain("GET", ""), kit.Get(modes.PathSSE + "?channel=a")} {
				c := n.Dial(t)
				c.Write(padded(r, limit+1))
				c.ExpectRefusal(http.StatusRequestHeaderFieldsTooLarge)
			}
		})
	}
}

// testHostAndOrigins: what is wrong with Host and Origin is so for every endpoint.
func testHostAndOrigins(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for target, handshake := range map[string]bool{
		"/plain": false, "/nowhere": false, modes.PathSSE + "?channel=a": false, modes.PathStream + "?channel=a": false,
		modes.PathRaw + "?channel=a": true, modes.PathEcho: true, modes.PathCentrifuge: true,
	} {
		r := kit.Get(target)
		if handshake {
			r = kit.Upgrade(target)
		}
		for name, host := range map[string][]string{
			"a slash": {"Host: a/b"}, "a space": {"Host: a b"}, "a user": {"Host: u@a"}, "a query": {"Host: a?b"}, "two": {"Host: a", "Host: a"}, "none": nil,
		} {
			t.Run(target+"/host/"+name, func(t *testing.T) {
				c := n.Dial(t)
				c.Write(r.With("Host", host...).Bytes())
				c.ExpectRefusal(http.StatusBadRequest)
			})
		}
		if target[0:2] == "/p" || target[0:2] == "/n" {
			continue
		}
		t.Run(target+"/origins", func(t *testing.T) {
			for _, second := range []string{"http://tandem.test", "http://evil.test"} {
				c := n.Dial(t)
				c.Write(r.With("Origin", "Origin: http://tandem.test", "Origin: "+second).Bytes())
				c.ExpectRefusal(http.StatusForbidden)
			}
		})
	}
}

func testOversizedHeaders(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for name, r := range map[string]kit.Request{
		"one header":   kit.Upgrade(modes.PathEcho, "Cookie: a="+strings.Repeat("x", 2*modes.DefaultMaxHeaderSize)),
		"many headers": kit.Upgrade(modes.PathEcho, strings.Split(strings.Repeat("X-Y: z\n", modes.DefaultMaxHeaderSize/2), "\n")[:modes.DefaultMaxHeaderSize/2]...),
		"target":       kit.Upgrade(modes.PathEcho + "?" + strings.Repeat("x", 2*modes.DefaultMaxHeaderSize)),
	} {
		t.Run(name, func(t *testing.T) {
			c := n.Dial(t)
			c.Write(r.Bytes())
			c.ExpectRefusal(http.StatusRequestHeaderFieldsTooLarge)
			c.ExpectEnd()
		})
	}
	kit.AwaitCount(t, n.Stats.Accepted, wire.Echo.String(), 0)
}

func testEndlessHeaders(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Dial(t)
	c.Write([]byte("GET /echo HTTP/1.1\r\nHost: tandem.test\r\n"))
	line := []byte(strings.Repeat("X-More: "+strings.Repeat("y", 1014)+"\r\n", 64))
	for deadline := time.Now().Add(kit.Patience); ; {
		if err := c.TryWrite(line); err != nil {
			if !kit.Ended(err) {
				t.Fatalf("write: %v", err)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server reads headers for %v", kit.Patience)
		}
	}
}

// An unfinished handshake ends at its deadline, whether the client is silent or
// dribbles.
func testHalfHandshake(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.HandshakeTimeout = kit.ShortTimeout })
	whole := kit.Upgrade(modes.PathEcho).Bytes()
	for name, part := range map[string][]byte{
		"nothing": nil, "a byte": whole[:1], "a line": whole[:20], "all but a byte": whole[:len(whole)-1],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.Dial(t)
			c.Write(part)
			c.ExpectTimeout()
		})
	}
	t.Run("dribble", func(t *testing.T) {
		t.Parallel()
		c := n.Dial(t)
		c.Write(whole[:len(whole)-4])
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		wait := kit.Background(t, 1, func(t kit.Tester, _ int) {
			header := []byte("\r\nX-Slow: ")
			for i := 0; ; i++ {
				<-tick.C
				// The end of the connection shows on either side first.
				if err := c.TryWrite(header[i%len(header) : i%len(header)+1]); err != nil {
					return
				}
			}
		})
		c.ExpectTimeout()
		c.Leave()
		wait()
	})
}

func testNoConnect(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.HandshakeTimeout = kit.ShortTimeout })
	silent := n.Open(t, modes.PathCentrifuge)
	echo := n.Open(t, modes.PathEcho)
	raw := n.Open(t, modes.PathRaw+"?channel=news")
	connected := n.Session(t)
	silent.ExpectClose(int(wire.DisconnectStale.Code))
	n.AwaitDisconnects(t, wire.DisconnectStale.Reason, 1)
	// The deadline is that of the connect command only.
	connected.RoundTrip()
	echo.Send(kit.Text("still here"))
	echo.Expect(kit.Text("still here"))
	n.Bus.Send("news", "still here")
	raw.Expect(kit.Text("still here"))
}

// A message that never ends holds a buffer, so it has a deadline, too. The client
// may come back: its link may be what is slow.
func testHalfMessage(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Limits.HandshakeTimeout = kit.ShortTimeout })
	whole := kit.Encode(kit.Text("never all of it"))
	for name, part := range map[string][]byte{
		"half a header":  whole[:1],
		"a header":       whole[:6],
		"half a payload": whole[:10],
		"half a message": kit.Encode(kit.Frame{Op: 1, Body: []byte("begun"), More: true}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.Open(t, modes.PathEcho)
			c.Send(kit.Text("whole"))
			c.Expect(kit.Text("whole"))
			c.Write(part)
			c.ExpectClose(int(wire.DisconnectSlow.Code))
		})
	}
}

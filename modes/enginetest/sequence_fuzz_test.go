//go:build linux

package enginetest

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

// FuzzRequestSequences sends both engines several requests over one connection, cut
// anywhere, and then the end of the stream. Whether a handshake is the first request
// of its connection decides which HTTP parser of the optimized engine reads it, and
// must not decide anything else.
func FuzzRequestSequences(f *testing.F) {
	for seed := range uint64(120) {
		f.Add(randomProgram(seed), seed)
	}
	p := startPair(f, nil)
	f.Fuzz(func(t *testing.T, program []byte, seed uint64) {
		s := sequenceOf(program)
		p.sameBut(t, fmt.Sprintf("%q, seed %d", s.bytes, seed), func(t *testing.T, n *kit.Node) outcome {
			c := n.Dial(t)
			defer c.Leave()
			sent := sendCut(c, s.bytes, seed)
			defer sent()
			return readSequence(c, s.methods)
		}, func(o outcome) bool {
			// While the bus is asked for a channel, a client that has closed its
			// side is gone for one mode and may be answered once more by the other.
			return s.channel && o.end == refused
		})
	})
}

// sequence is several requests over one connection.
type sequence struct {
	bytes   []byte
	methods []string // of the requests, whose answers depend on it
	channel bool     // one of the last requests opens a channel by its query
}

// sequenceOf is the sequence that a program describes: plain requests, with bodies and
// without, and then a handshake or what is nearly one.
func sequenceOf(program []byte) sequence {
	c := choices(program)
	var s sequence
	add := func(r kit.Request) {
		s.bytes = append(s.bytes, r.Bytes()...)
		s.methods = append(s.methods, r.Method)
	}
	for range c.next() % 5 {
		switch k := c.next() % 10; k {
		case 0, 1:
			add(kit.Plain("GET", ""))
		case 2:
			add(kit.Plain("POST", "hello"))
		case 3:
			add(kit.Plain("HEAD", "", "X-Case: a"))
		case 4:
			r := kit.Plain("POST", "", "Transfer-Encoding: chunked")
			r.Body = "5\r\nhello\r\n0\r\n\r\n"
			add(r)
		case 5:
			add(kit.Plain("PUT", "hello", "Expect: 100-continue"))
		case 6:
			add(kit.Plain("GET", "", "Connection: keep-alive", "Content-Length: 0"))
		case 7:
			r := kit.Plain("GET", "")
			r.Target = "/nowhere"
			add(r)
		case 8:
			// Not a handshake yet: a client that asks first whether it may.
			add(kit.Upgrade(modes.PathEcho).With("Upgrade").With("Connection"))
		case 9:
			add(kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"))
		}
	}
	target := []string{modes.PathEcho, modes.PathEcho, modes.PathCentrifuge, modes.PathRaw + "?channel=a", modes.PathEcho + "?a=b", "http://tandem.test" + modes.PathEcho}[c.next()%6]
	s.channel = target == modes.PathRaw+"?channel=a"
	r := kit.Upgrade(target)
	for range c.next() % 4 {
		switch c.next() % 12 {
		case 0:
			r.Headers = append(r.Headers, "Authorization: Bearer abc")
		case 1:
			r.Headers = append(r.Headers, "Expect: 100-continue")
		case 2:
			r = r.With("Connection", "Connection: keep-alive", "Connection: Upgrade")
		case 3:
			r.Headers = append(r.Headers, "Content-Length: 0")
		case 4:
			r = r.With("Upgrade", "Upgrade:\twebsocket\t ")
		case 5:
			r = r.With("Host", "host:tandem.test  ")
		case 6:
			r.Headers = append(r.Headers, "Origin: http://evil.test")
		case 7:
			r.Headers = append(r.Headers, "Sec-WebSocket-Protocol: centrifuge-json")
		case 8:
			r.Headers = append(r.Headers, "Cookie: a=b; c=d", "X-Forwarded-For: 192.0.2.1")
		case 9:
			r = r.With("Sec-WebSocket-Key")
		case 10:
			r.Version = "HTTP/1.0"
		case 11:
			r.Headers = append(r.Headers, "Connection: close")
		}
	}
	add(r)
	switch c.next() % 4 {
	case 0, 1:
		s.bytes = append(s.bytes, kit.Encode(kit.Text("hello"), kit.Closing(1000, ""))...)
	case 2:
		s.bytes = append(s.bytes, kit.Encode(kit.Text("hello"))[:3]...)
	case 3:
		// The client goes away in the middle.
		s.bytes = s.bytes[:1+(int(c.next())<<8+int(c.next()))%len(s.bytes)]
	}
	return s
}

// readSequence reads the answers to requests with these methods and, behind a 101,
// frames, to the end of the connection.
func readSequence(c *kit.Client, methods []string) outcome {
	c.T.Helper()
	var all []string
	for {
		method := http.MethodGet
		if len(methods) > 0 {
			method = methods[0]
		}
		r, body, err := c.TryResponseTo(method)
		switch {
		case kit.Ended(err) && r == nil:
			return outcome{all, refused}
		case err != nil && !kit.Ended(err):
			return outcome{all, "no response"}
		case r.StatusCode == http.StatusBadRequest:
			return outcome{all, refused}
		}
		answer := fmt.Sprintf("%d close=%v", r.StatusCode, r.Close)
		for _, name := range []string{
			"Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Sec-Websocket-Version", "Allow", "Upgrade", "Content-Type",
		} {
			if values := r.Header.Values(name); len(values) > 0 {
				answer += fmt.Sprintf(" %s %q", name, values)
			}
		}
		if r.StatusCode == http.StatusSwitchingProtocols {
			o := readOutcome(c)
			return outcome{append(append(all, answer), o.frames...), o.end}
		}
		all = append(all, answer+" "+body)
		if r.StatusCode >= http.StatusOK && len(methods) > 0 {
			methods = methods[1:]
		}
	}
}

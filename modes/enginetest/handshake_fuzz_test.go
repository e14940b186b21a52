//go:build linux

package enginetest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

// FuzzRequests sends both engines the same request, changed by the fuzzer.
func FuzzRequests(f *testing.F) {
	seed := uint64(0)
	add := func(request []byte) {
		f.Add(request, seed)
		seed++
	}
	for _, r := range handshakeRules {
		add(append(r.request.Bytes(), kit.Encode(kit.Text("hello"), kit.Closing(1000, ""))...))
	}
	for _, r := range malformedRequests {
		add([]byte(r))
	}
	for _, found := range foundRequests {
		add(found.request)
	}
	p := startPair(f, nil)
	f.Fuzz(func(t *testing.T, request []byte, seed uint64) {
		p.handshakes(t, request, seed)
	})
}

// FuzzHandshakes sends both engines requests that follow from the program, more
// often right than wrong.
func FuzzHandshakes(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(randomProgram(seed), seed)
	}
	p := startPair(f, nil)
	f.Fuzz(func(t *testing.T, program []byte, seed uint64) {
		p.handshakes(t, requestOf(program), seed)
	})
}

// Parts of requests; those in front are right.
var (
	requestMethods  = []string{"GET", "GET", "GET", "GET", "get", "POST", "HEAD", "OPTIONS", "CONNECT", "G ET", "", "PRI"}
	requestTargets  = []string{modes.PathEcho, modes.PathEcho, modes.PathEcho, modes.PathEcho + "?a=b", modes.PathCentrifuge, modes.PathCentrifuge + "?format=protobuf", modes.PathRaw + "?channel=a", modes.PathRaw, modes.PathRaw + "?channel=%zz", modes.PathEcho + "#x", "http://tandem.test" + modes.PathEcho, "/%65cho", modes.PathEcho + "/", "/", "//echo", "/plain?x=y", "/plain", "*", "echo", "", "/echo x", modes.PathEcho + "?%zz", modes.PathEcho + "%2f", "/./echo", "/a/../echo", "http://a b/echo", "/echo\x01", "/ech\xc3\xb6", "tandem.test:80"}
	requestVersions = []string{"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.10", "HTTP/11", "HTTP/1.", "HTTP", "", "HTTP/1.1 ", "FTP/1.1"}
	requestNames    = [][]string{
		{"Host", "host", "HOST"},
		{"Upgrade", "upgrade", "UPGRADE", "Upgrade "},
		{"Connection", "connection", "cOnnEction", " Connection"},
		{"Sec-WebSocket-Key", "sec-websocket-key", "Sec-Websocket-Key", "Sec_WebSocket_Key"},
		{"Sec-WebSocket-Version", "SEC-WEBSOCKET-VERSION", "Sec-WebSocket-Versio"},
		{"Origin", "origin"},
		{"Sec-WebSocket-Protocol", "sec-websocket-protocol"},
		{"Sec-WebSocket-Extensions"},
		{"X-Case", "Cookie", "", "X\x00", "X Y", "X(", "\xc3\xb6", "Accept-Encoding"},
		{"Content-Length", "content-length"},
		{"Transfer-Encoding"},
		{"Expect", "Trailer", "TE", "HTTP2-Settings"},
	}
	requestValues = [][]string{
		{"tandem.test", "tandem.test:80", "", "a b", "tandem.test,x", "user@tandem.test", "[::1]", "\xff", "a/b", "%41"},
		{"websocket", "WebSocket", "websocket, h2c", "h2c, websocket", "h2c", "", "websocket/13", "websocket,", ", websocket", "web socket", "websocket;q=1", "\"websocket\"", "websockets"},
		{"Upgrade", "upgrade", "keep-alive, Upgrade", "Upgrade,keep-alive", "keep-alive", "close", "close, upgrade", "", ",upgrade,", "upgrade;q=1", "\"upgrade\"", "Upgrade\tkeep-alive", "up grade"},
		{kit.Key, kit.Key, kit.Key, "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAB==", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ= =", "c2hvcnQ=", "", "dGhlIHNhbXBsZSBub25jZSBsb25n", "dGhlIHNhbXBsZSBub25jZ-==", "dGhlIHNhbXBsZSBub25jZR==", kit.Key + ", " + kit.Key, "====================ABCD"},
		{"13", "13", "13", "8", "13, 8", "8, 13", "013", "13 ", "+13", "", "1 3", "0x13", "13;q=1", "14", "256", "12345678901234567890"},
		{"http://tandem.test", "https://tandem.test", "http://evil.test", "null", "", "tandem.test", "://", "http://tandem.test:80", "http://tandem.test/", "HTTP://TANDEM.TEST", "http://user@tandem.test", "http://%74andem.test", "file:///", "http://tandem.test, http://evil.test"},
		{"centrifuge-protobuf", "chat", "chat, centrifuge-protobuf", "centrifuge-protobuf,chat", "", ",", "a b", "Centrifuge-Protobuf"},
		{"permessage-deflate", "permessage-deflate; client_max_window_bits", "x; a=\"b", "", ";;"},
		{"1", "", "a,b", "\x00", "\x7f", "\xff\xfe", "a\rb", "tab\there", "\x01", "\"quoted"},
		{"0", "5", "-1", "x", "", "0, 0", "00", "18446744073709551616"},
		{"chunked", "identity", "gzip", "", "chunked, chunked"},
		{"100-continue", "x", "", "trailers"},
	}
)

// pick takes one of these, the first half of the time. Of those behind it the
// program decides.
func (c *choices) pick(from []string) string {
	k := int(c.next())
	if k < 192 || len(from) == 1 {
		return from[0]
	}
	return from[k%len(from)]
}

// requestOf is the request that a program describes, and what follows it.
func requestOf(program []byte) []byte {
	c := choices(program)
	var b bytes.Buffer
	end := func() string {
		if c.next() == 1 {
			return []string{"\n", "\r", "\r\r\n", "\r\n ", "\x00\r\n"}[c.next()%5]
		}
		return "\r\n"
	}
	for range c.next() / 250 {
		b.WriteString("\r\n")
	}
	b.WriteString(c.pick(requestMethods) + " " + c.pick(requestTargets) + " " + c.pick(requestVersions) + end())
	// The five that a handshake needs, in some order and seldom one short or
	// twice, and others among them.
	order := []int{0, 1, 2, 3, 4}
	for range c.next() / 40 {
		order = slices.Insert(order, int(c.next())%(len(order)+1), 5+int(c.next())%7)
	}
	if k := c.next(); k >= 220 {
		i, j := int(c.next())%len(order), int(c.next())%len(order)
		order[i], order[j] = order[j], order[i]
	} else if k >= 200 {
		i := int(c.next()) % len(order)
		order = slices.Delete(order, i, i+1)
	} else if k >= 180 {
		i := int(c.next()) % len(order)
		order = slices.Insert(order, i, order[i])
	}
	for _, i := range order {
		separator := ": "
		if k := c.next(); k >= 240 {
			separator = []string{":", ":  ", ":\t", " : ", ": \t ", "", "=", "::"}[k%8]
		}
		b.WriteString(c.pick(requestNames[i]) + separator + c.pick(requestValues[i]))
		if k := c.next(); k >= 250 {
			b.WriteString([]string{" ", "\t", "  "}[k%3])
		}
		b.WriteString(end())
	}
	b.WriteString(end())
	request := b.Bytes()
	switch k := c.next(); {
	case k < 100:
		request = append(request, kit.Encode(kit.Text("hello"), kit.Closing(1000, ""))...)
	case k < 120:
		request = append(request, kit.Encode(kit.Text("hello"))[:c.next()%8]...)
	case k < 130:
		request = append(request, kit.Upgrade(modes.PathEcho).Bytes()...)
	case k < 140:
		request = append(request, "GET /plain?x=y HTTP/1.1\r\nHost: a\r\n\r\n"...)
	}
	switch k := c.next(); {
	case k == 1:
		request[(int(c.next())<<8+int(c.next()))%len(request)] = c.next()
	case k == 2:
		request = request[:(int(c.next())<<8+int(c.next()))%len(request)]
	}
	return request
}

package enginetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/wire"
)

var streamCases = []suiteCase{
	{"stream/200 after the confirmation", testStreamConfirmation},
	{"stream/channels", testStreamChannels},
	{"stream/headers", testStreamHeaders},
	{"stream/HTTP forms", testStreamForms},
	{"stream/payloads", testStreamPayloads},
	{"stream/beside other protocols", testStreamBeside},
	{"stream/comes from a proxy's connection", testStreamLater},
	{"stream/other origins", testStreamOrigins},
	{"stream/keep-alive", testStreamKeepAlive},
	{"stream/what the client sends", testStreamSends},
	{"stream/client that never stops sending", testStreamFlood},
	{"stream/client leaves", testStreamLeaves},
}

// streams are the protocols over HTTP, by path.
var streams = map[string]wire.Protocol{modes.PathSSE: wire.SSE, modes.PathStream: wire.Stream}

// get is a request for target, as a browser's EventSource or fetch makes it.
func get(target string, headers ...string) request {
	return request{method: "GET", target: target, version: "HTTP/1.1",
		headers: append([]string{"Host: tandem.test", "Accept: text/event-stream", "Connection: keep-alive"}, headers...)}
}

// openStream connects and opens the stream at target.
func (n *node) openStream(t tester, target string, headers ...string) *client {
	t.Helper()
	c := n.dial(t)
	c.openStream(target, headers...)
	return c
}

func (c *client) openStream(target string, headers ...string) {
	c.t.Helper()
	c.write(get(target, headers...).bytes())
	path, _, _ := strings.Cut(target, "?")
	c.expectStream(streams[path])
}

// expectStream reads the headers of the response, which must begin a stream of
// protocol p.
func (c *client) expectStream(p wire.Protocol) *http.Response {
	c.t.Helper()
	c.deadline()
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("read response: %v", err)
	}
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != p.ContentType() || r.ContentLength >= 0 {
		c.t.Fatalf("got %s, type %q, length %d, want 200, %q and no length",
			r.Status, r.Header.Get("Content-Type"), r.ContentLength, p.ContentType())
	}
	c.protocol, c.body = p, bufio.NewReader(r.Body)
	return r
}

func (c *client) deadline() {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatalf("set deadline: %v", err)
	}
}

// event is a server-sent event as HTML section 9.2.6 has a browser dispatch it, or
// the line of a stream.
type event struct{ name, data, retry string }

// event reads up to the end of the next event, over comments, which it counts as
// pings.
func (c *client) event() event {
	c.t.Helper()
	e, err := c.tryEvent()
	if err != nil {
		c.t.Fatalf("read event: %v", err)
	}
	return e
}

func (c *client) tryEvent() (event, error) {
	c.deadline()
	var (
		e    event
		data []string
	)
	for {
		line, err := c.body.ReadString('\n')
		if err != nil {
			if line != "" || data != nil {
				err = fmt.Errorf("cut off in the middle: %w", io.ErrNoProgress)
			}
			return e, err
		}
		line = strings.TrimSuffix(line, "\n")
		if strings.Contains(line, "\r") {
			return e, fmt.Errorf("line with a carriage return: %q", line)
		}
		switch {
		case c.protocol == wire.Stream && line != "":
			return event{data: line}, nil
		case c.protocol == wire.Stream:
			c.pings++
			continue
		case line == "" && data != nil:
			e.data = strings.Join(data, "\n")
			return e, nil
		case line == "":
			e = event{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			c.pings++
		case "data":
			data = append(data, value)
		case "event":
			e.name = value
		case "retry":
			e.retry = value
		default:
			return e, fmt.Errorf("unknown field in %q", line)
		}
	}
}

// expectEvent reads the next message, which must carry data.
func (c *client) expectEvent(data string) {
	c.t.Helper()
	if got := c.event(); got != (event{data: data}) {
		c.t.Fatalf("got %.200q, want a message %.200q", got, data)
	}
}

// expectStreamEnd reads the next message, which must be the last word of a stream
// that ends with d, and the end behind it. Only events have such a word.
func (c *client) expectStreamEnd(d wire.Disconnect) {
	c.t.Helper()
	e, err := c.tryEvent()
	if c.protocol == wire.SSE {
		if want := fmt.Sprintf(`{"code":%d,"reason":%q}`, d.Code, d.Reason); err != nil || e.name != "disconnect" || e.data != want {
			c.t.Fatalf("got %q, %v, want an event disconnect %s", e, err, want)
		}
		if ms, err := strconv.Atoi(e.retry); err != nil || ms < wire.RetryLeast || ms > wire.RetryMost {
			c.t.Errorf("retry %q, want %d to %d", e.retry, wire.RetryLeast, wire.RetryMost)
		}
		e, err = c.tryEvent()
	}
	if !errors.Is(err, io.EOF) {
		c.t.Fatalf("got %q, %v, want the end of the stream", e, err)
	}
}

func testStreamConfirmation(t *testing.T, build Build) {
	n := start(t, build, nil)
	for path, p := range streams {
		t.Run(path, func(t *testing.T) {
			held := "held " + p.String()
			release := n.bus.hold(held)
			c := n.dial(t)
			c.write(get(path + "?channel=other&channel=" + url.QueryEscape(held)).bytes())
			n.bus.awaitWaiting(t, held)
			// Another connection's whole way takes longer than an answer would.
			other := n.session(t, "other")
			n.bus.publish("other", "1")
			other.expectPush("other", "1")
			c.expectSilence()
			release(nil)
			c.expectStream(p)
			n.bus.publish("other", "2")
			c.expectEvent("2")
			n.bus.publish(held, "3")
			c.expectEvent("3")
		})
	}
	release := n.bus.hold("bad")
	c := n.dial(t)
	c.write(get(modes.PathSSE + "?channel=good&channel=bad").bytes())
	n.bus.awaitWaiting(t, "bad")
	release(errRefused)
	c.expectRefusal(http.StatusServiceUnavailable)
	c.expectEnd()
	awaitCount(t, n.stats.Refused, modes.RefusedUnavailable.Reason, 1)
	n.settle(t)
}

func testStreamChannels(t *testing.T, build Build) {
	n := start(t, build, nil)
	odd := "a&b=c d/\u65b0"
	for path := range streams {
		c := n.openStream(t, path+"?channel=a&channel=b&channel=a&x=y&channel="+url.QueryEscape(odd))
		for i, channel := range []string{"a", "b", odd} {
			n.bus.publish(channel, strconv.Itoa(i))
			c.expectEvent(strconv.Itoa(i))
		}
		if got := n.stats.Subscriptions.Load(); got != 3 {
			t.Errorf("%d subscriptions are counted, want 3", got)
		}
		c.leave()
		n.settle(t)
	}
	p := n.publishAlways(t, "news")
	together(t, 10, func(t tester, i int) {
		path := []string{modes.PathSSE, modes.PathStream}[i%2]
		for range 5 {
			c := n.openStream(t, path+"?channel=news")
			next := p.next.Load()
			first := int64(-1)
			for i := range int64(20) {
				number, err := strconv.ParseInt(c.event().data, 10, 64)
				if err != nil {
					t.Fatalf("payload: %v", err)
				}
				if first < 0 {
					first = number
				}
				if first > next || number != first+i {
					t.Fatalf("got %d as message %d after %d, which follows the 200 at %d", number, i, first, next)
				}
			}
			c.leave()
		}
	})
}

func testStreamHeaders(t *testing.T, build Build) {
	n := start(t, build, nil)
	for path, p := range streams {
		c := n.dial(t)
		c.write(get(path + "?channel=news").bytes())
		r := c.expectStream(p)
		for name, want := range map[string]string{
			"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
			"Vary": "Origin", "Access-Control-Allow-Origin": "",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if len(r.TransferEncoding) > 0 || !r.Close {
			t.Errorf("%s: transfer encoding %q, close %t, want a body that ends with the connection", path, r.TransferEncoding, r.Close)
		}
		awaitCount(t, n.stats.Accepted, p.String(), 1)
		if got := n.connections(p); got != 1 {
			t.Errorf("%d connections of protocol %s, want 1", got, p)
		}
	}
}

// Which requests open a stream, and what the others are answered.
func testStreamForms(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.rules.MaxChannels = 3 })
	for path, p := range streams {
		good := get(path + "?channel=news")
		for name, r := range map[string]request{
			"plain":            good,
			"HTTP/1.0":         withVersion(good, "HTTP/1.0"),
			"HTTP/1.0 no host": withVersion(good, "HTTP/1.0").with("Host"),
			"absolute":         get("http://tandem.test" + path + "?channel=news"),
			"escaped":          get(strings.Replace(path, "/s", "/%73", 1) + "?channel=news"),
			"odd case":         good.with("Host", "hOsT: tandem.test"),
			"6 KB of headers":  get(path+"?channel=news", "Cookie: a="+strings.Repeat("x", 6<<10)),
			"empty body":       get(path+"?channel=news", "Content-Length: 0"),
		} {
			for _, chopped := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/chopped %t", path, name, chopped), func(t *testing.T) {
					c := n.dial(t)
					c.chopped = chopped && len(r.bytes()) < 1000
					c.write(r.bytes())
					c.expectStream(p)
					n.bus.publish("news", "1")
					c.expectEvent("1")
				})
			}
		}
		for name, test := range map[string]struct {
			request request
			status  int
		}{
			"no channel":        {get(path), 400},
			"empty channel":     {get(path + "?channel=a&channel="), 400},
			"broken query":      {get(path + "?channel=%zz"), 400},
			"no UTF-8":          {get(path + "?channel=%ff"), 400},
			"long name":         {get(path + "?channel=" + strings.Repeat("x", 256)), 400},
			"many channels":     {get(path + "?channel=a&channel=b&channel=c&channel=d"), 400},
			"no host":           {good.with("Host"), 400},
			"two hosts":         {get(path+"?channel=news", "Host: other.test"), 400},
			"broken header":     {get(path+"?channel=news", "no colon"), 400},
			"body":              {get(path+"?channel=news", "Content-Length: 5"), 400},
			"chunked body":      {get(path+"?channel=news", "Transfer-Encoding: chunked"), 400},
			"other origin":      {get(path+"?channel=news", "Origin: http://other.test"), 403},
			"path prefix":       {get(path + "/more?channel=news"), 404},
			"HEAD":              {withMethod(good, "HEAD"), 405},
			"POST":              {withMethod(good, "POST"), 405},
			"POST HTTP/1.0":     {withVersion(withMethod(good, "POST"), "HTTP/1.0"), 405},
			"oversized headers": {get(path+"?channel=news", "Cookie: a="+strings.Repeat("x", 2*modes.MaxRequestHeader)), 431},
		} {
			t.Run(path+"/"+name, func(t *testing.T) {
				c := n.dial(t)
				c.write(test.request.bytes())
				if test.request.method == "HEAD" {
					c.deadline()
					r, err := http.ReadResponse(c.in, &http.Request{Method: "HEAD"})
					if err != nil || r.StatusCode != test.status {
						t.Fatalf("got %v, %v, want %d", r, err, test.status)
					}
					return
				}
				r := c.expectRefusal(test.status)
				if allow := r.Header.Get("Allow"); test.status == 405 && allow != "GET" {
					t.Errorf("Allow is %q, want GET", allow)
				}
			})
		}
	}
	n.settle(t)
	full := start(t, build, func(s *setup) { s.door.MaxConnections = 2 })
	full.openStream(t, modes.PathSSE+"?channel=news")
	full.session(t)
	full.awaitConnections(t, 2)
	for path := range streams {
		c := full.dial(t)
		c.write(get(path + "?channel=news").bytes())
		c.expectRefusal(http.StatusServiceUnavailable)
	}
	awaitCount(t, full.stats.Refused, modes.RefusedFull.Reason, 2)
	address := start(t, build, func(s *setup) {
		s.door.ConnectionsPerAddress = 1
		s.door.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	from := "X-Forwarded-For: 192.0.2.1"
	one := address.openStream(t, modes.PathSSE+"?channel=news", from)
	for path := range streams {
		c := address.dial(t)
		c.write(get(path+"?channel=news", from).bytes())
		c.expectRefusal(http.StatusTooManyRequests)
	}
	address.openStream(t, modes.PathSSE+"?channel=news", "X-Forwarded-For: 192.0.2.2").leave()
	one.leave()
	address.awaitConnections(t, 0)
	address.openStream(t, modes.PathStream+"?channel=news", from)
}

// streamPayloads are payloads, and how each arrives: as the data of an event, and
// as the value on a line.
var streamPayloads = map[string]struct{ payload, event, line string }{
	"JSON":               {`{"a":[1,"\n"]}`, `{"a":[1,"\n"]}`, `{"a":[1,"\n"]}`},
	"JSON, pretty":       {"{\n  \"a\": \"b c\"\r\n}", "{\n  \"a\": \"b c\"\n}", `{"a":"b c"}`},
	"text":               {"hello", "hello", `"hello"`},
	"empty":              {"", "", `""`},
	"space":              {"  two", "  two", `"  two"`},
	"lines":              {"a\nb\r\nc\rd", "a\nb\nc\nd", `"a\nb\r\nc\rd"`},
	"empty lines":        {"\n\na\n\n", "\n\na\n\n", `"\n\na\n\n"`},
	"CR LF apart":        {"a\n\rb", "a\n\nb", `"a\n\rb"`},
	"looks like a field": {"x\n\nevent: gap\ndata: y", "x\n\nevent: gap\ndata: y", `"x\n\nevent: gap\ndata: y"`},
	"no UTF-8":           {"a\xff\nb", "a\uFFFD\nb", "\"a\uFFFD\\nb\""},
	"other scripts":      {"\u65b0\u2028\U0001f600", "\u65b0\u2028\U0001f600", ""},
	"large":              {strings.Repeat("x", 200_000), strings.Repeat("x", 200_000), `"` + strings.Repeat("x", 200_000) + `"`},
}

func testStreamPayloads(t *testing.T, build Build) {
	n := start(t, build, nil)
	sse, stream := n.openStream(t, modes.PathSSE+"?channel=news"), n.openStream(t, modes.PathStream+"?channel=news")
	for name, test := range streamPayloads {
		n.bus.publish("news", test.payload)
		if got := sse.event(); got != (event{data: test.event}) {
			t.Errorf("%s: got %.100q, want event %.100q", name, got, test.event)
		}
		got := stream.event().data
		if test.line == "" {
			// How a string is escaped is up to the encoder.
			if value, err := strconv.Unquote(got); err != nil || value != test.payload {
				t.Errorf("%s: got %s, want a string %q", name, got, test.payload)
			}
		} else if got != test.line {
			t.Errorf("%s: got %.100s, want line %.100s", name, got, test.line)
		}
	}
	if got := n.stats.Repaired.Load(); got != 1 {
		t.Errorf("%d publications are counted as repaired, want 1", got)
	}
}

// A burst arrives whole and in order in all protocols, whatever is joined.
func testStreamBeside(t *testing.T, build Build) {
	n := start(t, build, nil)
	var clients []*client
	for range 3 {
		clients = append(clients, n.openStream(t, modes.PathSSE+"?channel=news"), n.openStream(t, modes.PathStream+"?channel=news"),
			n.open(t, modes.PathRaw+"?channel=news"), n.session(t, "news"))
	}
	const many = 500
	for i := range many {
		n.bus.publish("news", strconv.Itoa(i))
	}
	together(t, len(clients), func(t tester, i int) {
		c := clients[i]
		c.t = t
		for number := range many {
			want := strconv.Itoa(number)
			switch {
			case c.protocol.OverHTTP():
				c.expectEvent(want)
			case c.protocol == wire.Raw:
				c.expect(text(want))
			default:
				c.expectPush("news", want)
			}
		}
	})
}

// A proxy that reuses its connections sends the request behind others.
func testStreamLater(t *testing.T, build Build) {
	n := start(t, build, nil)
	for path, p := range streams {
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			c := n.dial(t)
			c.write(plain("GET", "").bytes())
			c.expectPlain("GET", "", "")
			c.write(withMethod(get(path+"?channel=news"), "HEAD").bytes())
			c.deadline()
			if r, err := http.ReadResponse(c.in, &http.Request{Method: "HEAD"}); err != nil || r.StatusCode != 405 {
				t.Fatalf("HEAD: got %v, %v, want 405", r, err)
			}
			c.write(withVersion(get(path+"?channel=news"), version).bytes())
			c.expectStream(p)
			n.bus.publish("news", "1")
			c.expectEvent("1")
		}
	}
	// A path may be written in several ways, and must not go round in circles.
	c := n.dial(t)
	c.write(upgrade("/%65cho").bytes())
	c.expectUpgrade("")
	c.send(text("understood"))
	c.expect(text("understood"))
}

// Scripts of other origins may read what the door lets them have, refusals
// included.
func testStreamOrigins(t *testing.T, build Build) {
	closed := start(t, build, nil)
	listed := start(t, build, func(s *setup) { s.door.AllowedOrigins = []string{"https://*.example.com"} })
	anyone := start(t, build, func(s *setup) { s.door.AllowedOrigins = []string{"*"} })
	for _, test := range []struct {
		name                string
		n                   *node
		origin              string
		status              int
		shared, credentials string
	}{
		{"same host", closed, "https://tandem.test", 200, "https://tandem.test", "true"},
		{"other host", closed, "https://evil.test", 403, "", ""},
		{"no URL", closed, "null", 403, "", ""},
		{"listed", listed, "https://www.example.com", 200, "https://www.example.com", "true"},
		{"not listed", listed, "https://tandem.test", 403, "", ""},
		{"anyone", anyone, "https://evil.test", 200, "*", ""},
	} {
		check := func(t *testing.T, r *http.Response) {
			t.Helper()
			h := r.Header
			if got := h.Get("Access-Control-Allow-Origin"); got != test.shared || h.Get("Vary") != "Origin" {
				t.Errorf("%s: shared with %q, Vary %q, want %q, Origin", r.Status, got, h.Get("Vary"), test.shared)
			}
			if got := h.Get("Access-Control-Allow-Credentials"); got != test.credentials {
				t.Errorf("%s: credentials %q, want %q", r.Status, got, test.credentials)
			}
		}
		for path, p := range streams {
			t.Run(test.name+path, func(t *testing.T) {
				c := test.n.dial(t)
				c.write(get(path+"?channel=news", "Origin: "+test.origin).bytes())
				if test.status == 200 {
					check(t, c.expectStream(p))
				} else {
					check(t, c.expectRefusal(test.status))
				}
				c = test.n.dial(t)
				c.write(get(path+"?channel=", "Origin: "+test.origin).bytes())
				r, _ := c.response()
				check(t, r)
				c = test.n.dial(t)
				c.write(withMethod(get(path, "Origin: "+test.origin, "Access-Control-Request-Method: GET"), "OPTIONS").bytes())
				r, _ = c.response()
				if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Methods") != "GET" {
					t.Errorf("preflight: got %s, methods %q", r.Status, r.Header.Get("Access-Control-Allow-Methods"))
				}
				check(t, r)
			})
		}
	}
}

// Streams that nothing is published to are kept alive, and need not answer.
func testStreamKeepAlive(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.limits.PingInterval, s.limits.PongTimeout = 60*time.Millisecond, 50*time.Millisecond
	})
	for path := range streams {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			c := n.openStream(t, path+"?channel="+path)
			// Long after anybody who owed an answer would have been cut.
			c.deadline()
			for range 8 {
				line, err := c.body.ReadString('\n')
				if err != nil || strings.Trim(line, ":\n") != "" {
					t.Fatalf("got %q, %v, want what keeps alive", line, err)
				}
			}
			n.bus.publish(path, "1")
			c.expectEvent("1")
		})
	}
}

// What comes behind the request is not looked at, be it a request, and hides
// neither what is published nor the client's end.
func testStreamSends(t *testing.T, build Build) {
	n := start(t, build, nil)
	for path, p := range streams {
		for name, behind := range map[string]string{
			"a request": string(plain("GET", "").bytes()), "a byte": "x", "frames": string(encode(text("a"), closing(1000, ""))),
		} {
			for _, when := range []string{"at once", "later"} {
				t.Run(path+"/"+name+"/"+when, func(t *testing.T) {
					c := n.dial(t)
					r := get(path + "?channel=news")
					if when == "at once" {
						r.body = behind
					}
					c.write(r.bytes())
					c.expectStream(p)
					n.bus.publish("news", "1")
					c.expectEvent("1")
					if when == "later" {
						c.write([]byte(behind))
					}
					n.bus.publish("news", "2")
					c.expectEvent("2")
					c.leave()
					n.settle(t)
				})
			}
		}
	}
}

// Who sends on and on is cut, for it costs time to read what nobody wants.
func testStreamFlood(t *testing.T, build Build) {
	n := start(t, build, nil)
	for path := range streams {
		c := n.openStream(t, path+"?channel=news")
		chunk := []byte(strings.Repeat("x", 64<<10))
		for deadline := time.Now().Add(patience); ; {
			if err := c.tryWrite(chunk); err != nil {
				if !ended(err) {
					t.Fatalf("write: %v", err)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the server reads on for %v", patience)
			}
		}
	}
	n.settle(t)
	n.awaitDisconnects(t, wire.DisconnectBadRequest.Reason, len(streams))
}

// Nothing is published, and the server knows all the same that the client is gone.
func testStreamLeaves(t *testing.T, build Build) {
	n := start(t, build, nil)
	for path := range streams {
		n.openStream(t, path+"?channel=news").leave()
		c := n.openStream(t, path+"?channel=news")
		if err := c.conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.tryEvent(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: after our end: %v, want the server's", path, err)
		}
		n.openStream(t, path+"?channel=news").reset()
	}
	n.settle(t)
	n.awaitDisconnects(t, modes.ReasonClientClosed, 4)
	n.awaitDisconnects(t, modes.ReasonReset, 2)
}

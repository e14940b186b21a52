package enginetest

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
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

func testStreamConfirmation(t *testing.T, build Build) {
	n := start(t, build, nil)
	for path, p := range streams {
		t.Run(path, func(t *testing.T) {
			held := "held " + p.String()
			release := n.bus.hold(held)
			c := n.dial(t)
			c.write(get(path + "?channel=other&channel=" + url.QueryEscape(held)).bytes())
			n.bus.awaitWaiting(t, held)
			// The whole exchange of another connection takes longer than an answer would.
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
	awaitCount(t, n.stats.Refused, handshake.RefusedUnavailable.Reason, 1)
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

// Streams that nothing is published to are kept alive, and need not answer.
func testStreamKeepAlive(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.limits.PingInterval, s.limits.PongTimeout = 60*time.Millisecond, 50*time.Millisecond
	})
	for path := range streams {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			c := n.openStream(t, path+"?channel="+path)
			// Long after a client that owed an answer would have been disconnected.
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

// What follows the request is ignored, even if it is a request, and hides neither
// publications nor the end of the client.
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

// A client that keeps sending is disconnected, because reading what is ignored costs time.
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

// The server notices that the client is gone although nothing is published.
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

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
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
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

func testStreamConfirmation(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for path, p := range kit.Streams {
		t.Run(path, func(t *testing.T) {
			held := "held " + p.String()
			release := n.Bus.Hold(held)
			c := n.Dial(t)
			c.Write(kit.Get(path + "?channel=other&channel=" + url.QueryEscape(held)).Bytes())
			n.Bus.AwaitWaiting(t, held)
			// The whole exchange of another connection takes longer than an answer would.
			other := n.Session(t, "other")
			n.Bus.Send("other", "1")
			other.ExpectPush("other", "1")
			c.ExpectSilence()
			release(nil)
			c.ExpectStream(p)
			n.Bus.Send("other", "2")
			c.ExpectEvent("2")
			n.Bus.Send(held, "3")
			c.ExpectEvent("3")
		})
	}
	release := n.Bus.Hold("bad")
	c := n.Dial(t)
	c.Write(kit.Get(modes.PathSSE + "?channel=good&channel=bad").Bytes())
	n.Bus.AwaitWaiting(t, "bad")
	release(kit.ErrRefused)
	c.ExpectRefusal(http.StatusServiceUnavailable)
	c.ExpectEnd()
	kit.AwaitCount(t, n.Stats.Refused, handshake.RefusedUnavailable.Reason, 1)
	n.Settle(t)
}

func testStreamChannels(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	odd := "a&b=c d/\u65b0"
	for path := range kit.Streams {
		c := n.OpenStream(t, path+"?channel=a&channel=b&channel=a&x=y&channel="+url.QueryEscape(odd))
		for i, channel := range []string{"a", "b", odd} {
			n.Bus.Send(channel, strconv.Itoa(i))
			c.ExpectEvent(strconv.Itoa(i))
		}
		if got := n.Stats.Subscriptions.Load(); got != 3 {
			t.Errorf("%d subscriptions are counted, want 3", got)
		}
		c.Leave()
		n.Settle(t)
	}
	p := n.PublishAlways(t, "news")
	kit.Together(t, 10, func(t kit.Tester, i int) {
		path := []string{modes.PathSSE, modes.PathStream}[i%2]
		for range 5 {
			c := n.OpenStream(t, path+"?channel=news")
			next := p.Next.Load()
			first := int64(-1)
			for i := range int64(20) {
				number, err := strconv.ParseInt(c.Event().Data, 10, 64)
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
			c.Leave()
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

func testStreamPayloads(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	sse, stream := n.OpenStream(t, modes.PathSSE+"?channel=news"), n.OpenStream(t, modes.PathStream+"?channel=news")
	for name, test := range streamPayloads {
		n.Bus.Send("news", test.payload)
		if got := sse.Event(); got != (kit.Event{Data: test.event}) {
			t.Errorf("%s: got %.100q, want event %.100q", name, got, test.event)
		}
		got := stream.Event().Data
		if test.line == "" {
			// How a string is escaped is up to the encoder.
			if value, err := strconv.Unquote(got); err != nil || value != test.payload {
				t.Errorf("%s: got %s, want a string %q", name, got, test.payload)
			}
		} else if got != test.line {
			t.Errorf("%s: got %.100s, want line %.100s", name, got, test.line)
		}
	}
	if got := n.Stats.Repaired.Load(); got != 1 {
		t.Errorf("%d publications are counted as repaired, want 1", got)
	}
}

// A burst arrives whole and in order in all protocols, whatever is joined.
func testStreamBeside(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	var clients []*kit.Client
	for range 3 {
		clients = append(clients, n.OpenStream(t, modes.PathSSE+"?channel=news"), n.OpenStream(t, modes.PathStream+"?channel=news"),
			n.Open(t, modes.PathRaw+"?channel=news"), n.Session(t, "news"))
	}
	const many = 500
	for i := range many {
		n.Bus.Send("news", strconv.Itoa(i))
	}
	kit.Together(t, len(clients), func(t kit.Tester, i int) {
		c := clients[i]
		c.T = t
		for number := range many {
			want := strconv.Itoa(number)
			switch {
			case c.Protocol.OverHTTP():
				c.ExpectEvent(want)
			case c.Protocol == wire.Raw:
				c.Expect(kit.Text(want))
			default:
				c.ExpectPush("news", want)
			}
		}
	})
}

// Streams that nothing is published to are kept alive, and need not answer.
func testStreamKeepAlive(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Limits.PingInterval, s.Limits.PongTimeout = 60*time.Millisecond, 50*time.Millisecond
	})
	for path := range kit.Streams {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			c := n.OpenStream(t, path+"?channel="+path)
			// Long after a client that owed an answer would have been disconnected.
			c.Deadline()
			for range 8 {
				line, err := c.Body.ReadString('\n')
				if err != nil || strings.Trim(line, ":\n") != "" {
					t.Fatalf("got %q, %v, want what keeps alive", line, err)
				}
			}
			n.Bus.Send(path, "1")
			c.ExpectEvent("1")
		})
	}
}

// What follows the request is ignored, even if it is a request, and hides neither
// publications nor the end of the client.
func testStreamSends(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for path, p := range kit.Streams {
		for name, behind := range map[string]string{
			"a request": string(kit.Plain("GET", "").Bytes()), "a byte": "x", "frames": string(kit.Encode(kit.Text("a"), kit.Closing(1000, ""))),
		} {
			for _, when := range []string{"at once", "later"} {
				t.Run(path+"/"+name+"/"+when, func(t *testing.T) {
					c := n.Dial(t)
					r := kit.Get(path + "?channel=news")
					if when == "at once" {
						r.Body = behind
					}
					c.Write(r.Bytes())
					c.ExpectStream(p)
					n.Bus.Send("news", "1")
					c.ExpectEvent("1")
					if when == "later" {
						c.Write([]byte(behind))
					}
					n.Bus.Send("news", "2")
					c.ExpectEvent("2")
					c.Leave()
					n.Settle(t)
				})
			}
		}
	}
}

// A client that keeps sending is disconnected, because reading what is ignored costs time.
func testStreamFlood(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for path := range kit.Streams {
		c := n.OpenStream(t, path+"?channel=news")
		chunk := []byte(strings.Repeat("x", 64<<10))
		for deadline := time.Now().Add(kit.Patience); ; {
			if err := c.TryWrite(chunk); err != nil {
				if !kit.Ended(err) {
					t.Fatalf("write: %v", err)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the server reads on for %v", kit.Patience)
			}
		}
	}
	n.Settle(t)
	n.AwaitDisconnects(t, wire.DisconnectBadRequest.Reason, len(kit.Streams))
}

// The server notices that the client is gone although nothing is published.
func testStreamLeaves(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	for path := range kit.Streams {
		n.OpenStream(t, path+"?channel=news").Leave()
		c := n.OpenStream(t, path+"?channel=news")
		if err := c.Conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.TryEvent(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: after our end: %v, want the server's", path, err)
		}
		n.OpenStream(t, path+"?channel=news").Reset()
	}
	n.Settle(t)
	n.AwaitDisconnects(t, modes.ReasonClientClosed, 4)
	n.AwaitDisconnects(t, modes.ReasonReset, 2)
}

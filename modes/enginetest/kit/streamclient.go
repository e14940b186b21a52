package kit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Streams are the protocols over HTTP, by path.
var Streams = map[string]wire.Protocol{modes.PathSSE: wire.SSE, modes.PathStream: wire.Stream}

// Get is a request for target, as a browser's EventSource or fetch makes it.
func Get(target string, headers ...string) Request {
	return Request{Method: "GET", Target: target, Version: "HTTP/1.1",
		Headers: append([]string{"Host: tandem.test", "Accept: text/event-stream", "Connection: keep-alive"}, headers...)}
}

// OpenStream connects and opens the stream at target.
func (n *Node) OpenStream(t Tester, target string, headers ...string) *Client {
	t.Helper()
	c := n.Dial(t)
	c.OpenStream(target, headers...)
	return c
}

// OpenStream sends a request for a stream and expects that it begins.
func (c *Client) OpenStream(target string, headers ...string) {
	c.T.Helper()
	c.Write(Get(target, headers...).Bytes())
	path, _, _ := strings.Cut(target, "?")
	c.ExpectStream(Streams[path])
}

// ExpectStream reads the headers of the response, which must begin a stream of
// protocol p.
func (c *Client) ExpectStream(p wire.Protocol) *http.Response {
	c.T.Helper()
	c.Deadline()
	r, err := http.ReadResponse(c.In, nil)
	if err != nil {
		c.T.Fatalf("read response: %v", err)
	}
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != p.ContentType() || r.ContentLength >= 0 {
		c.T.Fatalf("got %s, type %q, length %d, want 200, %q and no length",
			r.Status, r.Header.Get("Content-Type"), r.ContentLength, p.ContentType())
	}
	c.Protocol, c.Body = p, bufio.NewReader(r.Body)
	return r
}

// Deadline bounds the reads that follow.
func (c *Client) Deadline() {
	c.T.Helper()
	if err := c.Conn.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		c.T.Fatalf("set deadline: %v", err)
	}
}

// Event is a server-sent event as HTML section 9.2.6 has a browser dispatch it, or
// the line of a stream.
type Event struct{ Name, Data, retry string }

// Event reads up to the end of the next event, over comments, which it counts as
// pings.
func (c *Client) Event() Event {
	c.T.Helper()
	e, err := c.TryEvent()
	if err != nil {
		c.T.Fatalf("read event: %v", err)
	}
	return e
}

// TryEvent is Event for a stream that may end.
func (c *Client) TryEvent() (Event, error) {
	c.Deadline()
	var (
		e    Event
		data []string
	)
	for {
		line, err := c.Body.ReadString('\n')
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
		case c.Protocol == wire.Stream && line != "":
			return Event{Data: line}, nil
		case c.Protocol == wire.Stream:
			c.Pings++
			continue
		case line == "" && data != nil:
			e.Data = strings.Join(data, "\n")
			return e, nil
		case line == "":
			e = Event{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			c.Pings++
		case "data":
			data = append(data, value)
		case "event":
			e.Name = value
		case "retry":
			e.retry = value
		default:
			return e, fmt.Errorf("unknown field in %q", line)
		}
	}
}

// ExpectEvent reads the next message, which must carry data.
func (c *Client) ExpectEvent(data string) {
	c.T.Helper()
	if got := c.Event(); got != (Event{Data: data}) {
		c.T.Fatalf("got %.200q, want a message %.200q", got, data)
	}
}

// ExpectStreamEnd reads the next message, which must be the last word of a stream
// that ends with d, and the end after it. Only events can carry a reason.
func (c *Client) ExpectStreamEnd(d wire.Disconnect) {
	c.T.Helper()
	e, err := c.TryEvent()
	if c.Protocol == wire.SSE {
		if want := fmt.Sprintf(`{"code":%d,"reason":%q}`, d.Code, d.Reason); err != nil || e.Name != "disconnect" || e.Data != want {
			c.T.Fatalf("got %q, %v, want an event disconnect %s", e, err, want)
		}
		if ms, err := strconv.Atoi(e.retry); err != nil || ms < wire.RetryLeast || ms > wire.RetryMost {
			c.T.Errorf("retry %q, want %d to %d", e.retry, wire.RetryLeast, wire.RetryMost)
		}
		e, err = c.TryEvent()
	}
	if !errors.Is(err, io.EOF) {
		c.T.Fatalf("got %q, %v, want the end of the stream", e, err)
	}
}

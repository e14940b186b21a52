package enginetest

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

// openStream sends a request for a stream and expects that it begins.
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

// deadline bounds the reads that follow.
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

// tryEvent is event for a stream that may end.
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
// that ends with d, and the end after it. Only events can carry a reason.
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

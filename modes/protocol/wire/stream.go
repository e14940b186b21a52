package wire

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"unicode/utf8"
)

// The messages of the protocols over HTTP are a Frame each, although of no
// WebSocket: an event that ends in an empty line, or a line.
var (
	sseEnd  = []byte("\n\n")
	lineEnd = []byte("\n")

	// Comments and empty lines mean nothing to clients.
	ssePing    = Frame(":\n\n")
	streamPing = Frame("\n")
)

// ContentType is the media type of a stream of this protocol over HTTP.
func (p Protocol) ContentType() string {
	if p == SSE {
		return "text/event-stream"
	}
	return "application/x-ndjson"
}

// FrameEnd returns how long the message is that buffer begins with, in a stream
// of protocol p over HTTP. buffer holds whole messages.
func (p Protocol) FrameEnd(buffer []byte) int {
	end := lineEnd
	if p == SSE {
		end = sseEnd
	}
	return bytes.Index(buffer, end) + len(end)
}

// ssePush returns the event that carries data. A line break in it, in any of the
// three forms, ends a data line (HTML, section 9.2.6); the client gets it as a
// line feed. Events are UTF-8.
func ssePush(data []byte) (Frame, bool) {
	repaired := !utf8.Valid(data)
	if repaired {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	const name = "data: "
	dst := make([]byte, 0, len(name)+len(data)+len(sseEnd))
	for {
		dst = append(dst, name...)
		end := bytes.IndexAny(data, "\r\n")
		if end < 0 {
			return append(append(dst, data...), sseEnd...), repaired
		}
		dst = append(append(dst, data[:end]...), '\n')
		if data[end] == '\r' && end+1 < len(data) && data[end+1] == '\n' {
			end++
		}
		data = data[end+1:]
	}
}

// streamPush returns the line that carries data, as a JSON push embeds it.
func streamPush(data []byte) (Frame, bool) {
	repaired := !utf8.Valid(data)
	if repaired {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	dst := appendData(make([]byte, 0, len(data)+len(lineEnd)+2), data)
	return append(dst, lineEnd...), repaired
}

// Retry is the range of the pause, in milliseconds, that an EventSource is told to
// make before it connects again, so that those whom a node lets go together do
// not come back together.
const (
	RetryLeast = 1000
	RetryMost  = 3000
)

// EndFrame returns what a connection of protocol p is sent last: a close frame; an
// event named disconnect, with a pause before the next attempt that differs from
// connection to connection; nil where the protocol has no such message.
func EndFrame(p Protocol, d Disconnect) Frame {
	switch p {
	case SSE:
		dst := strconv.AppendInt([]byte("retry: "), RetryLeast+rand.Int64N(RetryMost-RetryLeast+1), 10)
		dst = append(dst, "\nevent: disconnect\ndata: "...)
		// Neither a number nor a string can fail.
		body, _ := json.Marshal(struct {
			Code   uint16 `json:"code"`
			Reason string `json:"reason"`
		}{d.Code, d.Reason})
		return append(append(dst, body...), sseEnd...)
	case Stream:
		return nil
	}
	return CloseFrame(d)
}

// GapFrame returns what tells connections of protocol p that messages of channel
// may have been missed: in a session the end of the subscription; an event named
// gap, whose data is the channel's name, after which publications go on; nil
// where the protocol has no such message. A channel's name has no line breaks.
func GapFrame(p Protocol, channel string) Frame {
	switch {
	case p.Session():
		return UnsubscribeFrame(p, channel, UnsubscribeInsufficient)
	case p == SSE:
		return Frame("event: gap\ndata: " + channel + "\n\n")
	}
	return nil
}

package load

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/tandem-ws/tandem/compare/workload"
)

type protocol uint8

const (
	protoCentrifuge protocol = iota
	protoRaw
	protoFloor
	protoSSE
	protoStream
)

// overHTTP reports whether the response to the request is the connection, with lines
// instead of frames.
func (p protocol) overHTTP() bool { return p == protoSSE || p == protoStream }

// byQuery reports whether the request names the channel.
func (p protocol) byQuery() bool { return p == protoRaw || p.overHTTP() }

// group is what the connections of one connect command share.
type group struct {
	protocol protocol
	each     bool // a channel for each connection
	// parts of a channel's name: before, the channel's number if each, after
	before, after string
	host, path    string
	timeout       int64 // ns
	rcvbuf        int
	segment       int
}

func newGroup(c *Command) group {
	g := group{host: c.Target, path: c.Path, timeout: int64(c.TimeoutMS) * 1e6, rcvbuf: c.Rcvbuf, segment: c.Segment}
	g.before, g.after, g.each = strings.Cut(c.Channel, "%d")
	path := "/connection/websocket"
	switch c.Protocol {
	case Raw:
		g.protocol, path = protoRaw, "/ws"
	case Floor:
		g.protocol, path = protoFloor, "/"
	case SSE:
		g.protocol, path = protoSSE, "/sse"
	case Stream:
		g.protocol, path = protoStream, "/stream"
	}
	if g.path == "" {
		g.path = path
	}
	return g
}

func (g *group) appendChannel(dst []byte, number uint32) []byte {
	dst = append(dst, g.before...)
	if g.each {
		dst = strconv.AppendUint(dst, uint64(number), 10)
	}
	return append(dst, g.after...)
}

// appendRequest appends the request of a connection.
func (g *group) appendRequest(dst []byte, channel uint32) []byte {
	dst = append(dst, "GET "...)
	dst = append(dst, g.path...)
	if g.protocol.byQuery() {
		separator := byte('?')
		if strings.IndexByte(g.path, '?') >= 0 {
			separator = '&'
		}
		dst = append(dst, separator)
		dst = append(dst, "channel="...)
		dst = g.appendChannel(dst, channel)
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, g.host...)
	if g.protocol.overHTTP() {
		return append(dst, headEnd...)
	}
	return append(dst, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"...)
}

// ids of commands in the Centrifuge protocol; those of publish commands follow.
const (
	connectID   = 1
	subscribeID = 2
)

// appendJoin appends what a connection sends after the upgrade. It overwrites scratch.
func (g *group) appendJoin(dst []byte, channel uint32, scratch *[]byte) []byte {
	switch g.protocol {
	case protoCentrifuge:
		s := append((*scratch)[:0], `{"id":1,"connect":{}}`+"\n"...)
		*scratch = g.appendSubscribe(s, channel)
		return appendFrame(dst, opText, *scratch)
	case protoFloor:
		return appendFrame(dst, opText, append(g.appendChannel(append((*scratch)[:0], `{"op":"subscribe","channel":"`...), channel), `"}`...))
	}
	return dst
}

func (g *group) appendSubscribe(dst []byte, channel uint32) []byte {
	dst = append(dst, `{"id":2,"subscribe":{"channel":"`...)
	dst = g.appendChannel(dst, channel)
	return append(dst, `"}}`...)
}

// appendPublish appends a publish command, unframed.
func (g *group) appendPublish(dst []byte, id uint32, m workload.Message, size int) []byte {
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendUint(dst, uint64(id), 10)
	dst = append(dst, `,"publish":{"channel":"`...)
	dst = g.appendChannel(dst, m.Channel)
	dst = append(dst, `","data":`...)
	dst = workload.AppendMessage(dst, m, size)
	return append(dst, `}}`...)
}

var (
	pingLine    = []byte("{}")
	pushStart   = []byte(`{"push":`)
	idStart     = []byte(`"id":`)
	errorStart  = []byte(`"error":{"code":`)
	unsubscribe = []byte(`"unsubscribe":`)
	disconnect  = []byte(`"disconnect":`)
)

// line handles a line of the Centrifuge protocol that is not an ordinary publication.
func (in *intake) line(r *record, b []byte, now int64) verdict {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
	case bytes.Equal(b, pingLine):
		in.count.Pings++
		in.reply = appendFrame(in.reply, opText, pingLine)
	case bytes.HasPrefix(b, pushStart):
		in.push(r, b, now)
	default:
		return in.answered(r, b, now)
	}
	return carryOn
}

func (in *intake) push(r *record, b []byte, now int64) {
	m, at, ok := workload.FindMessage(b)
	switch {
	case ok:
		r.offset = uint16(at)
		in.deliver(r, m, now)
	case bytes.Contains(b, unsubscribe) && r.state == joined:
		r.state = joining
		in.joinedNow--
		in.count.Resubscribed++
		in.reply = appendFrame(in.reply, opText, in.groups[r.group].appendSubscribe(nil, r.channel))
	case bytes.Contains(b, disconnect):
		// the close frame that follows carries the code
	default:
		in.count.Unknown++
	}
}

// answered handles the reply to a command.
func (in *intake) answered(r *record, b []byte, now int64) verdict {
	id, ok := numberAfter(b, idStart)
	if !ok {
		in.count.Unknown++
		return carryOn
	}
	code, failed := numberAfter(b, errorStart)
	switch {
	case id > subscribeID && failed:
		in.count.Refused++
	case id > subscribeID:
		in.count.Acknowledged++
	case failed && id == connectID:
		return in.end(causeRefused, "connect error "+strconv.Itoa(code))
	case failed:
		return in.end(causeRefused, "error "+strconv.Itoa(code))
	case id == subscribeID:
		in.joined(r, now)
	}
	return carryOn
}

// numberAfter returns the number that follows key in b.
func numberAfter(b, key []byte) (n int, ok bool) {
	i := bytes.Index(b, key)
	if i < 0 {
		return 0, false
	}
	for _, c := range b[i+len(key):] {
		if c < '0' || c > '9' || n > 1<<40 {
			break
		}
		n, ok = n*10+int(c-'0'), true
	}
	return n, ok
}

package load

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tandem-ws/tandem/compare/workload"
)

// verdict is what the loop must do after a connection's bytes have been parsed.
type verdict uint8

const (
	carryOn  verdict = iota
	upgraded         // the 101 is complete: send the join command
	finished         // the connection is over, intake.cause says why
)

// causes of an end other than the server's close codes.
const (
	causeEOF       = -1
	causeReset     = -2
	causeLocal     = -3
	causeViolation = -4 // server broke RFC 6455; intake.detail says how
	causeRefused   = -5 // handshake or subscription refused; intake.detail
	causeTimeout   = -6
	causeNoStatus  = 1005
)

// intake parses, counts and times what servers send, without sockets. One loop owns
// it.
type intake struct {
	groups  []group
	slots   slots
	heads   map[uint32][]byte // unfinished response heads, by record index
	count   Counters
	latency *hdrhistogram.Histogram
	connect *hdrhistogram.Histogram

	// reply collects frames to send on the connection that is being fed.
	reply []byte
	// joinedNow counts connections subscribed for the first time or again.
	joinedNow int
	cause     int
	detail    string
}

func newIntake() *intake {
	return &intake{
		heads:   map[uint32][]byte{},
		latency: newHistogram(),
		connect: newHistogram(),
		reply:   make([]byte, 0, 4096),
	}
}

// end sets the cause and returns the verdict that goes with it.
func (in *intake) end(cause int, detail string) verdict {
	in.cause, in.detail = cause, detail
	return finished
}

// forget frees what is stored outside of r's record.
func (in *intake) forget(r *record) {
	in.slots.drop(&r.stash)
	in.slots.drop(&r.part)
	if r.state == upgrading {
		delete(in.heads, r.index)
	}
}

// feed parses bytes b that r received at time now (ns since 1970). It does not keep b,
// and appends answers to in.reply.
func (in *intake) feed(r *record, b []byte, now int64) verdict {
	if r.state != upgrading {
		return in.body(r, b, now)
	}
	head := b
	kept, again := in.heads[r.index]
	if again {
		head = append(kept, b...)
	}
	i := bytes.Index(head, headEnd)
	if i > maxHead || i < 0 && len(head) > maxHead {
		return in.end(causeRefused, "response head longer than 8 KB")
	}
	if i < 0 {
		if !again {
			head = bytes.Clone(b)
		}
		in.heads[r.index] = head
		return carryOn
	}
	delete(in.heads, r.index)
	if v := in.head(r, head[:i+len(headEnd)], now); v != upgraded {
		return v
	}
	if rest := head[i+len(headEnd):]; len(rest) > 0 {
		if v := in.body(r, rest, now); v != carryOn {
			return v
		}
	}
	return upgraded
}

// body handles what follows the response head.
func (in *intake) body(r *record, b []byte, now int64) verdict {
	if in.groups[r.group].protocol.overHTTP() {
		return in.piece(r, b, false, now)
	}
	return in.frames(r, b, now)
}

const maxHead = 8 << 10

var (
	headEnd     = []byte("\r\n\r\n")
	switching   = []byte("HTTP/1.1 101")
	streaming   = []byte("HTTP/1.1 200")
	acceptValue = []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
)

// head checks a complete response head.
func (in *intake) head(r *record, head []byte, now int64) verdict {
	p := in.groups[r.group].protocol
	begins := switching
	if p.overHTTP() {
		begins = streaming
	}
	if !bytes.HasPrefix(head, begins) {
		return in.end(causeRefused, status(head))
	}
	if !p.overHTTP() && !bytes.Contains(head, acceptValue) {
		return in.end(causeRefused, "wrong Sec-WebSocket-Accept")
	}
	r.state = joining
	if p.byQuery() {
		in.joined(r, now)
	}
	return upgraded
}

// status names a response other than 101.
func status(head []byte) string {
	_, rest, _ := bytes.Cut(head, []byte(" "))
	if !bytes.HasPrefix(head, []byte("HTTP/1.")) || len(rest) < 3 {
		return "no HTTP response"
	}
	return "status " + strings.ToValidUTF8(string(rest[:3]), "?")
}

// joined records that r's subscription is confirmed.
func (in *intake) joined(r *record, now int64) {
	if r.state != joining {
		return
	}
	r.state = joined
	in.joinedNow++
	if r.flags&wasJoined == 0 {
		r.flags |= wasJoined
		record64(in.connect, now-r.started)
	}
}

func record64(h *hdrhistogram.Histogram, ns int64) {
	// out of range values cannot happen: ns is clamped to the histogram's range
	_ = h.RecordValue(min(max(ns, 0), highestLatency))
}

// message handles one complete message, or its first slotSize bytes.
func (in *intake) message(r *record, b []byte, now int64) verdict {
	if m, ok := workload.ParseMessage(b, int(r.offset)); ok && r.state == joined {
		in.deliver(r, m, now)
		return carryOn
	}
	return in.unusual(r, b, now)
}

func (in *intake) deliver(r *record, m workload.Message, now int64) {
	in.count.Delivered++
	if r.state == joining {
		in.count.Early++
	}
	record64(in.latency, now-m.Time)
	if m.Channel != r.channel {
		in.count.Misrouted++
		return
	}
	in.sequence(r, m.Sequence)
}

// unusual handles a message without a payload in the expected place.
func (in *intake) unusual(r *record, b []byte, now int64) verdict {
	b = b[:min(len(b), slotSize)]
	switch in.groups[r.group].protocol {
	case protoCentrifuge:
		return in.line(r, b, now)
	case protoFloor:
		if r.state == joining {
			in.joined(r, now)
			return carryOn
		}
	case protoSSE, protoStream:
		switch {
		case len(b) == 0:
			// The end of an event, or what keeps a stream alive.
			return carryOn
		case b[0] == ':':
			in.count.Pings++
			return carryOn
		}
	}
	in.find(r, b, now)
	return carryOn
}

// find delivers a message whose payload is in another place than before.
func (in *intake) find(r *record, b []byte, now int64) {
	m, at, ok := workload.FindMessage(b)
	if !ok {
		in.count.Unknown++
		return
	}
	r.offset = uint16(at)
	in.deliver(r, m, now)
}

// closeCode returns the code in a close frame's payload.
func closeCode(b []byte) int {
	if len(b) < 2 {
		return causeNoStatus
	}
	return int(binary.BigEndian.Uint16(b))
}

package redisbus

import (
	"bytes"
	"fmt"
)

// replyKind is what a reply of Redis on a Pub/Sub connection is.
type replyKind uint8

const (
	messageReply     replyKind = iota // a message on a channel
	subscribeReply                    // the answer to SUBSCRIBE, for one channel
	unsubscribeReply                  // the same for UNSUBSCRIBE
	pongReply                         // the answer to PING
	errorReply                        // the answer to a command that Redis refuses
	roleReply                         // the answer to ROLE
)

func (k replyKind) String() string {
	return [...]string{"message", "subscribe", "unsubscribe", "pong", "error", "role"}[k]
}

// reply is one of the things that Redis says on a Pub/Sub connection. Its bytes
// are those of the buffer it was parsed from.
type reply struct {
	kind    replyKind
	channel []byte // of the first three kinds
	payload []byte // the message, the argument of PING, the text of the error, or the role
}

// maxBulk is the longest string that is believed; Redis's own limit is half of
// it unless it is raised (proto-max-bulk-len).
const maxBulk = 1 << 30

// messageStart is how every published message begins, but for its first byte: '*'
// in RESP2, '>' in RESP3.
const messageStart = "3\r\n$7\r\nmessage\r\n"

// parseReply parses the reply that buffer begins with, and returns its length;
// 0: there has to be more of it. RESP2 or RESP3, see
// https://redis.io/docs/latest/develop/reference/protocol-spec/ and, for what a
// Pub/Sub connection is sent, https://redis.io/docs/latest/develop/pubsub/.
// Errors wrap errProtocol.
func parseReply(buffer []byte) (r reply, length int, err error) {
	p := replyParser{rest: buffer}
	const start = 1 + len(messageStart)
	if len(buffer) >= start && string(buffer[1:start]) == messageStart && (buffer[0] == '>' || buffer[0] == '*') {
		p.rest = buffer[start:]
		r = reply{channel: p.bulk(), payload: p.bulk()}
	} else {
		r = p.reply()
	}
	switch {
	case p.broken:
		return reply{}, 0, fmt.Errorf("%w: %.40q", errProtocol, buffer)
	case p.short:
		return reply{}, 0, nil
	}
	return r, len(buffer) - len(p.rest), nil
}

// replyParser takes elements off rest. Once it is short of bytes, or what it has
// read is no RESP2, everything it returns is empty.
type replyParser struct {
	rest   []byte
	short  bool
	broken bool
}

func (p *replyParser) failed() bool { return p.short || p.broken }

// reply takes a reply of any kind. In RESP2 PING is answered with an array while
// there are subscriptions, and otherwise with a string.
func (p *replyParser) reply() reply {
	if len(p.rest) == 0 {
		p.short = true
		return reply{}
	}
	switch p.rest[0] {
	case '-':
		return reply{kind: errorReply, payload: p.line()}
	case '+':
		return reply{kind: pongReply, payload: p.line()}
	case '$':
		return reply{kind: pongReply, payload: p.bulk()}
	}
	whole, sign := p.rest, p.rest[0]
	if sign != '>' {
		sign = '*'
	}
	elements := p.number(sign)
	if p.failed() {
		return reply{}
	}
	switch name := p.bulk(); {
	case p.failed():
	case elements == 3 && string(name) == "message":
		return reply{kind: messageReply, channel: p.bulk(), payload: p.bulk()}
	case elements == 3 && string(name) == "subscribe":
		return reply{kind: subscribeReply, channel: p.counted()}
	case elements == 3 && string(name) == "unsubscribe":
		return reply{kind: unsubscribeReply, channel: p.counted()}
	case elements == 2 && string(name) == "pong":
		return reply{kind: pongReply, payload: p.bulk()}
	case sign == '*' && (string(name) == "master" || string(name) == "slave" || string(name) == "sentinel"):
		p.rest = whole
		p.value(maxDepth)
		return reply{kind: roleReply, payload: name}
	default:
		p.broken = true
	}
	return reply{}
}

// counted takes a channel and the number of subscriptions behind it.
func (p *replyParser) counted() []byte {
	channel := p.bulk()
	p.number(':')
	return channel
}

// line takes a line, and returns what is between its first byte and its end.
func (p *replyParser) line() []byte {
	if p.failed() {
		return nil
	}
	end := bytes.IndexByte(p.rest, '\n')
	if end < 0 {
		p.short = true
		return nil
	}
	if end < 2 || p.rest[end-1] != '\r' {
		p.broken = true
		return nil
	}
	line := p.rest[1 : end-1]
	p.rest = p.rest[end+1:]
	return line
}

// number takes a line that begins with sign and goes on with digits.
func (p *replyParser) number(sign byte) int {
	if p.failed() {
		return 0
	}
	n := 0
	for i, b := range p.rest {
		switch {
		case i == 0 && b == sign:
		case i > 0 && '0' <= b && b <= '9' && n <= maxBulk:
			n = 10*n + int(b-'0')
		case i > 1 && b == '\r':
			p.rest = p.rest[i:]
			p.lineEnd()
			return n
		default:
			p.broken = true
			return 0
		}
	}
	p.short = true
	return 0
}

// lineEnd takes the two bytes that end a line.
func (p *replyParser) lineEnd() {
	switch {
	case p.failed():
	case len(p.rest) >= 2 && p.rest[0] == '\r' && p.rest[1] == '\n':
		p.rest = p.rest[2:]
	case len(p.rest) >= 2 || len(p.rest) == 1 && p.rest[0] != '\r':
		p.broken = true
	default:
		p.short = true
	}
}

// bulk takes a string with its length before it.
func (p *replyParser) bulk() []byte { return p.bulkOf('$') }

// bulkOf takes a string of the kind that begins with sign.
func (p *replyParser) bulkOf(sign byte) []byte {
	n := p.number(sign)
	switch {
	case p.failed():
		return nil
	case n > maxBulk:
		p.broken = true
		return nil
	case len(p.rest) < n:
		p.short = true
		return nil
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	p.lineEnd()
	return s
}

package redisbus

import (
	"fmt"
	"strconv"
)

// value is what Redis answers a command with, in RESP2 or RESP3. Its bytes are
// those of the buffer it was parsed from.
type value struct {
	kind  byte    // the first byte of its encoding
	text  []byte  // of everything but aggregates
	items []value // of an aggregate; a map's keys and values in turn
}

// maxDepth is how deeply aggregates may nest.
const maxDepth = 16

// parseValue parses the value that buffer begins with, and returns its length;
// 0: there has to be more of it. Errors wrap errProtocol.
func parseValue(buffer []byte) (v value, length int, err error) {
	p := replyParser{rest: buffer}
	v = p.value(maxDepth)
	switch {
	case p.broken:
		return value{}, 0, fmt.Errorf("%w: %.40q", errProtocol, buffer)
	case p.short:
		return value{}, 0, nil
	}
	return v, len(buffer) - len(p.rest), nil
}

// value takes a value of any kind. Attributes of RESP3 are not expected.
func (p *replyParser) value(depth int) (v value) {
	if p.failed() {
		return value{}
	}
	if len(p.rest) == 0 {
		p.short = true
		return value{}
	}
	v.kind = p.rest[0]
	n := 0
	switch v.kind {
	case '+', '-', ':', '_', '#', ',', '(':
		v.text = p.line()
		return v
	case '$', '=', '!':
		if p.null() {
			return value{kind: '_'}
		}
		v.text = p.bulkOf(v.kind)
		return v
	case '*', '~', '>':
		if p.null() {
			return value{kind: '_'}
		}
		n = p.number(v.kind)
	case '%':
		n = 2 * p.number('%')
	default:
		p.broken = true
		return value{}
	}
	if depth == 0 {
		p.broken = true
	}
	for i := 0; i < n && !p.failed(); i++ {
		v.items = append(v.items, p.value(depth-1))
	}
	return v
}

// null takes the null string or array of RESP2, if rest begins with it.
func (p *replyParser) null() bool {
	const length = len("$-1\r\n")
	if len(p.rest) < 2 || p.rest[1] != '-' {
		p.short = p.short || len(p.rest) < 2
		return false
	}
	switch {
	case len(p.rest) < length:
		p.short = true
	case string(p.rest[1:length]) != "-1\r\n":
		p.broken = true
	default:
		p.rest = p.rest[length:]
		return true
	}
	return false
}

// err is the error that Redis answered with, or nil.
func (v value) err() error {
	if v.kind == '-' || v.kind == '!' {
		return refusal(v.text)
	}
	return nil
}

// number is an integer, 0 if the value is none.
func (v value) number() int64 {
	n, _ := strconv.ParseInt(string(v.text), 10, 64)
	return n
}

// item is an element of an aggregate, the zero value if there is none.
func (v value) item(i int) value {
	if i < 0 || i >= len(v.items) {
		return value{}
	}
	return v.items[i]
}

// field is the value that stands behind name in a map, or in an array of names
// and values.
func (v value) field(name string) value {
	for i := 0; i+1 < len(v.items); i += 2 {
		if string(v.items[i].text) == name {
			return v.items[i+1]
		}
	}
	return value{}
}

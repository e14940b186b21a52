package workload

import (
	"bytes"
	"encoding/binary"
	"errors"
)

const (
	// MinSize is the smallest payload in bytes.
	MinSize = headSize + 2 + len(`,"p":"`)
	// MaxSequence is the highest sequence number a payload can carry: receivers
	// keep 32 bits for each connection.
	MaxSequence = 1<<32 - 1
	// MaxChannel is the highest channel number a payload can carry.
	MaxChannel = 9e7 - 1
	// PrefixSize is how many bytes from the opening brace ParseMessage needs.
	PrefixSize = headSize

	sequenceBase = 1_000_000_000
	channelBase  = 10_000_000

	sequenceAt = len(`{"s":`)
	timeAt     = sequenceAt + 10 + len(`,"t":`)
	channelAt  = timeAt + 19 + len(`,"c":`)
	headSize   = channelAt + 8
)

// ErrSize means that a payload of the wanted size cannot hold the fixed fields.
var ErrSize = errors.New("workload: size below the smallest payload")

// Message is what a payload carries.
type Message struct {
	// Sequence counts the messages of one channel from 1.
	Sequence uint32
	// Channel is the number of the channel the message was published to.
	Channel uint32
	// Time is the intended send time, nanoseconds since 1970.
	Time int64
}

// AppendMessage appends the payload of m, size bytes long, to dst and returns it.
// size is at least MinSize; a smaller one yields MinSize bytes.
func AppendMessage(dst []byte, m Message, size int) []byte {
	dst = append(dst, `{"s":`...)
	dst = appendDigits(dst, sequenceBase+uint64(m.Sequence), 10)
	dst = append(dst, `,"t":`...)
	dst = appendDigits(dst, uint64(m.Time), 19)
	dst = append(dst, `,"c":`...)
	dst = appendDigits(dst, channelBase+uint64(m.Channel), 8)
	dst = append(dst, `,"p":"`...)
	for fill := size - MinSize; fill > 0; {
		n := min(fill, len(filler))
		dst = append(dst, filler[:n]...)
		fill -= n
	}
	return append(dst, `"}`...)
}

const filler = "Tandem fills its messages with words, as real messages are, and not with one letter only. "

func appendDigits(dst []byte, v uint64, width int) []byte {
	var d [20]byte
	for i := width - 1; i >= 0; i-- {
		d[i] = byte('0' + v%10)
		v /= 10
	}
	return append(dst, d[:width]...)
}

// ParseMessage reads the payload that starts at b[at], where an earlier message of the
// same connection had it. ok is false when none stands there.
func ParseMessage(b []byte, at int) (m Message, ok bool) {
	if at < 0 || len(b)-at < headSize {
		return Message{}, false
	}
	p := b[at : at+headSize : at+headSize]
	if binary.LittleEndian.Uint32(p) != mark('{', '"', 's', '"') ||
		binary.LittleEndian.Uint32(p[timeAt-4:]) != mark('"', 't', '"', ':') ||
		binary.LittleEndian.Uint32(p[channelAt-4:]) != mark('"', 'c', '"', ':') {
		return Message{}, false
	}
	s := binary.LittleEndian.Uint64(p[sequenceAt+2:])
	t1 := binary.LittleEndian.Uint64(p[timeAt+3:])
	t2 := binary.LittleEndian.Uint64(p[timeAt+11:])
	c := binary.LittleEndian.Uint64(p[channelAt:])
	if !isDigits(s) || !isDigits(t1) || !isDigits(t2) || !isDigits(c) {
		return Message{}, false
	}
	s1, s2 := uint64(p[sequenceAt]-'0'), uint64(p[sequenceAt+1]-'0')
	t3, t4, t5 := uint64(p[timeAt]-'0'), uint64(p[timeAt+1]-'0'), uint64(p[timeAt+2]-'0')
	if max(s1, s2, t3, t4, t5) > 9 {
		return Message{}, false
	}
	lead, leadTime := s1*10+s2, t3*100+t4*10+t5
	if leadTime > 921 { // 922 and above would not fit an int64
		return Message{}, false
	}
	sequence := lead*1e8 + number(s) - sequenceBase
	channel := number(c) - channelBase
	if sequence > MaxSequence || channel > MaxChannel { // below the base wraps round
		return Message{}, false
	}
	return Message{
		Sequence: uint32(sequence),
		Channel:  uint32(channel),
		Time:     int64(leadTime*1e16 + number(t1)*1e8 + number(t2)),
	}, true
}

// FindMessage looks for the first payload anywhere in b and returns where it starts.
func FindMessage(b []byte) (m Message, at int, ok bool) {
	for at = 0; ; at++ {
		i := bytes.Index(b[at:], opening)
		if i < 0 {
			return Message{}, 0, false
		}
		at += i
		if m, ok = ParseMessage(b, at); ok {
			return m, at, true
		}
	}
}

var opening = []byte(`{"s":`)

func mark(a, b, c, d byte) uint32 {
	return uint32(a) | uint32(b)<<8 | uint32(c)<<16 | uint32(d)<<24
}

// digits reports whether all eight bytes are ASCII digits.
func isDigits(v uint64) bool {
	return v&0xf0f0f0f0f0f0f0f0|(v+0x0606060606060606)&0xf0f0f0f0f0f0f0f0>>4 == 0x3333333333333333
}

// number is the value of eight ASCII digits, the first in the lowest byte.
func number(v uint64) uint64 {
	v = v & 0x0f0f0f0f0f0f0f0f * (1 + 10<<8) >> 8
	v = v & 0x00ff00ff00ff00ff * (1 + 100<<16) >> 16
	return v & 0x0000ffff0000ffff * (1 + 10000<<32) >> 32
}

//go:build linux

package optimized

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// clientFrame returns a masked frame with these first bits and this payload.
func clientFrame(first byte, payload []byte) []byte {
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	frame := wire.AppendHeader(nil, 0, len(payload))
	frame[0], frame[1] = first, frame[1]|0x80
	frame = append(frame, mask[:]...)
	masked := bytes.Clone(payload)
	ws.Cipher(masked, mask, 0)
	return append(frame, masked...)
}

// parseAll feeds pieces to a new parser and writes down all it finds.
func parseAll(limit int, pieces ...[]byte) (all []string) {
	p := &parser{limit: limit}
	for _, piece := range pieces {
		for data := bytes.Clone(piece); ; {
			var f found
			f, data = p.next(data)
			if f.event == nothing {
				break
			}
			if f.event == violation {
				return append(all, fmt.Sprintf("violation %d", f.end.Code))
			}
			all = append(all, fmt.Sprintf("%d/%d %q", f.event, f.op, f.payload))
		}
	}
	if p.unfinished() {
		all = append(all, "unfinished")
	}
	return all
}

func TestParser(t *testing.T) {
	join := slices.Concat[[]byte]
	text := func(s string) string { return fmt.Sprintf("%d/1 %q", message, s) }
	const protocol, payload, big = "violation 1002", "violation 1007", "violation 1009"
	long := strings.Repeat("x", 70_000)
	for name, c := range map[string]struct {
		bytes []byte
		want  []string
	}{
		"text":              {clientFrame(0x81, []byte("hi")), []string{text("hi")}},
		"empty":             {clientFrame(0x81, nil), []string{text("")}},
		"16 bit length":     {clientFrame(0x81, []byte(long[:300])), []string{text(long[:300])}},
		"64 bit length":     {clientFrame(0x81, []byte(long)), []string{text(long)}},
		"two frames":        {join(clientFrame(0x81, []byte("a")), clientFrame(0x82, []byte{0xff})), []string{text("a"), fmt.Sprintf("%d/2 %q", message, "\xff")}},
		"fragments, a ping": {join(clientFrame(0x01, []byte("a")), clientFrame(0x89, []byte("p")), clientFrame(0x80, []byte("b"))), []string{fmt.Sprintf("%d/9 %q", control, "p"), text("ab")}},
		"empty fragments":   {join(clientFrame(0x01, nil), clientFrame(0x00, nil), clientFrame(0x80, nil)), []string{text("")}},
		"rune in two":       {join(clientFrame(0x01, []byte("\xe2\x82")), clientFrame(0x80, []byte("\xac"))), []string{text("€")}},
		"half a frame":      {clientFrame(0x81, []byte("hello"))[:8], []string{"unfinished"}},
		"half a header":     {clientFrame(0x81, []byte("hello"))[:3], []string{"unfinished"}},
		"open message":      {clientFrame(0x01, []byte("hello")), []string{"unfinished"}},
		"unmasked":          {[]byte{0x81, 0x01, 'x'}, []string{protocol}},
		"rsv1":              {clientFrame(0xc1, nil), []string{protocol}},
		"rsv2":              {clientFrame(0xa1, nil), []string{protocol}},
		"rsv3":              {clientFrame(0x91, nil), []string{protocol}},
		"opcode 3":          {clientFrame(0x83, nil), []string{protocol}},
		"opcode 11":         {clientFrame(0x8b, nil), []string{protocol}},
		"long ping":         {clientFrame(0x89, make([]byte, 126)), []string{protocol}},
		"ping in pieces":    {clientFrame(0x09, nil), []string{protocol}},
		"lone continuation": {clientFrame(0x80, nil), []string{protocol}},
		"text in a message": {join(clientFrame(0x01, nil), clientFrame(0x81, nil)), []string{protocol}},
		"length 2^63":       {[]byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, []string{protocol}},
		"5 in 16 bits":      {append([]byte{0x81, 0xfe, 0, 5, 0, 0, 0, 0}, "hello"...), []string{protocol}},
		"5 in 64 bits":      {append([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0}, "hello"...), []string{protocol}},
		"length 2^63-1":     {[]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, []string{big}},
		"over the limit":    {join(clientFrame(0x02, make([]byte, 60_000)), clientFrame(0x80, make([]byte, 40_001))), []string{big}},
		"at the limit":      {join(clientFrame(0x01, []byte(long)), clientFrame(0x80, []byte(long[:30_000]))), []string{text(long + long[:30_000])}},
		"bad utf-8":         {clientFrame(0x81, []byte("\xff")), []string{payload}},
		"surrogate":         {clientFrame(0x81, []byte("\xed\xa0\x80")), []string{payload}},
		"cut rune":          {clientFrame(0x81, []byte("\xe2\x82")), []string{payload}},
		"fails before end":  {clientFrame(0x01, []byte("\xf4\x90")), []string{payload}},
		"fails mid-frame":   {clientFrame(0x81, []byte("\xf4\x90 and so on"))[:8], []string{payload}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parseAll(100_000, c.bytes); !slices.Equal(got, c.want) {
				t.Errorf("got %.200q, want %.200q", got, c.want)
			}
			var bytewise [][]byte
			for i := range c.bytes {
				bytewise = append(bytewise, c.bytes[i:i+1])
			}
			if got := parseAll(100_000, bytewise...); !slices.Equal(got, c.want) {
				t.Errorf("byte by byte: got %.200q, want %.200q", got, c.want)
			}
		})
	}
}

// FuzzParser: any split of the bytes gives the same result as one read.
func FuzzParser(f *testing.F) {
	f.Add(clientFrame(0x81, []byte("hello €")), uint16(3), uint16(9))
	f.Add(slices.Concat(clientFrame(0x01, []byte("\xe2\x82")), clientFrame(0x89, []byte("ping")), clientFrame(0x80, []byte("\xac"))), uint16(7), uint16(8))
	f.Add([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, first, second uint16) {
		a := int(first) % (len(data) + 1)
		b := a + int(second)%(len(data)-a+1)
		whole := parseAll(1000, data)
		if split := parseAll(1000, data[:a], data[a:b], data[b:]); !slices.Equal(whole, split) {
			t.Errorf("whole %q, split at %d and %d %q", whole, a, b, split)
		}
	})
}

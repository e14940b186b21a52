package enginetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

// lengthRules are those of section 5.2 on how long a frame is.
func lengthRules() (rules []rule) {
	for _, size := range []int{
		0, 1, 2, 124, 125, 126, 127, 128, 1000, 4095, 4096, 4097, 65534, 65535, 65536, 65537, 131_072, maxEcho - 1, maxEcho,
	} {
		for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
			f := kit.Frame{Op: op, Body: pattern(size)}
			rules = append(rules, rule{"5.2", fmt.Sprintf("message of %d, opcode %d", size, op), []kit.Frame{f}, []kit.Frame{f}, open})
		}
	}
	// The minimal number of bytes must be used for a length, and the top bit of 64
	// must be 0.
	for _, f := range []kit.Frame{
		{Op: ws.OpText, Form: 16},
		{Op: ws.OpText, Body: pattern(5), Form: 16},
		{Op: ws.OpText, Body: pattern(125), Form: 16},
		{Op: ws.OpText, Form: 64},
		{Op: ws.OpText, Body: pattern(125), Form: 64},
		{Op: ws.OpText, Body: pattern(126), Form: 64},
		{Op: ws.OpBinary, Body: pattern(65535), Form: 64},
		{Op: ws.OpPing, Body: pattern(5), Form: 16},
		{Op: ws.OpClose, Form: 64},
	} {
		rules = append(rules, rule{"5.2", fmt.Sprintf("length %d in %d bits, opcode %d", len(f.Body), f.Form, f.Op), []kit.Frame{f}, nil, 1002})
	}
	for _, length := range []uint64{1 << 63, 1<<63 + 5, 1<<64 - 1} {
		rules = append(rules, rule{"5.2", fmt.Sprintf("length %#x", length), []kit.Frame{{Op: ws.OpBinary, Declares: length}}, nil, 1002})
	}
	var many []kit.Frame
	for i := range 200 {
		many = append(many, kit.Text(fmt.Sprint(i)))
	}
	return append(rules, rule{"5.2", "many messages", many, many, open})
}

// headerRules are those on what else a frame's first bytes say.
func headerRules() (rules []rule) {
	before := kit.Text("before")
	// violation is a frame that is wrong, alone, and between others that are not.
	violation := func(section, name string, f kit.Frame) {
		rules = append(rules,
			rule{section, name, []kit.Frame{f}, nil, 1002},
			rule{section, name + ", between others", []kit.Frame{before, f, {Op: ws.OpPing}}, []kit.Frame{before}, 1002})
	}
	for rsv := byte(1); rsv < 8; rsv++ {
		for _, f := range []kit.Frame{kit.Text("hello"), kit.BinaryFrame("hello"), {Op: ws.OpPing}, kit.Closing(1000, "")} {
			f.Rsv = rsv << 4
			violation("5.2", fmt.Sprintf("reserved bits %03b, opcode %d", rsv, f.Op), f)
		}
	}
	for _, op := range []ws.OpCode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		violation("5.2", fmt.Sprintf("opcode %d", op), kit.Frame{Op: op})
		violation("5.2", fmt.Sprintf("opcode %d with a payload", op), kit.Frame{Op: op, Body: []byte("{}")})
		violation("5.2", fmt.Sprintf("opcode %d, not the last", op), kit.Frame{Op: op, More: true})
	}
	for _, f := range []kit.Frame{
		kit.Text("{}"), kit.BinaryFrame("\xff"), {Op: ws.OpText}, {Op: ws.OpPing}, {Op: ws.OpPong}, kit.Closing(1000, ""), {Op: ws.OpText, Body: pattern(70_000)},
	} {
		f.Unmasked = true
		violation("5.1", fmt.Sprintf("no mask, opcode %d of %d", f.Op, len(f.Body)), f)
	}
	for _, op := range []ws.OpCode{ws.OpPing, ws.OpPong, ws.OpClose} {
		violation("5.5", fmt.Sprintf("fragmented, opcode %d", op), kit.Frame{Op: op, More: true})
		violation("5.5", fmt.Sprintf("opcode %d of 126", op), kit.Frame{Op: op, Body: pattern(126)})
		violation("5.5", fmt.Sprintf("opcode %d of 70,000", op), kit.Frame{Op: op, Body: pattern(70_000)})
		violation("5.5", fmt.Sprintf("opcode %d, said to be of 2^63-1", op), kit.Frame{Op: op, Declares: 1<<63 - 1})
	}
	return rules
}

// controlRules are those of sections 5.5.2 and 5.5.3.
var controlRules = func() (rules []rule) {
	payload := bytes.Repeat([]byte{0xff, 0}, 63)
	for size := range 126 {
		ping, pong := kit.Frame{Op: ws.OpPing, Body: payload[:size]}, kit.Frame{Op: ws.OpPong, Body: payload[:size]}
		rules = append(rules, rule{"5.5.2", fmt.Sprintf("ping of %d", size), []kit.Frame{ping}, []kit.Frame{pong}, open})
	}
	var pings, pongs []kit.Frame
	for i := range 10 {
		pings = append(pings, kit.Frame{Op: ws.OpPing, Body: fmt.Appendf(nil, "payload %d", i)})
		pongs = append(pongs, kit.Frame{Op: ws.OpPong, Body: fmt.Appendf(nil, "payload %d", i)})
	}
	unasked := kit.Frame{Op: ws.OpPong, Body: []byte("unasked")}
	return append(rules,
		rule{"5.5.2", "ten pings", pings, pongs, open},
		rule{"5.5.3", "pong that nobody asked for", []kit.Frame{unasked}, nil, open},
		rule{"5.5.3", "empty pong that nobody asked for", []kit.Frame{{Op: ws.OpPong}}, nil, open},
		rule{"5.5.3", "pong that nobody asked for, then a ping", []kit.Frame{unasked, pings[0]}, pongs[:1], open},
		rule{"5.5.3", "pong of 125", []kit.Frame{{Op: ws.OpPong, Body: payload[:125]}, pings[0]}, pongs[:1], open})
}()

// fragmentRules are those of section 5.4.
func fragmentRules() (rules []rule) {
	for _, test := range []struct {
		name  string
		op    ws.OpCode
		parts []string
	}{
		{"two", ws.OpText, []string{"one, ", "two"}},
		{"binary", ws.OpBinary, []string{"\xff\xfe", "\x00"}},
		{"empty first", ws.OpText, []string{"", "all"}},
		{"empty last", ws.OpText, []string{"all", ""}},
		{"only the middle", ws.OpText, []string{"", "all", ""}},
		{"all empty", ws.OpText, []string{"", "", ""}},
		{"many", ws.OpText, slices.Repeat([]string{"part "}, 1000)},
		{"as many as bytes", ws.OpBinary, strings.Split(string(pattern(300)), "")},
		{"large", ws.OpText, []string{string(pattern(70_000)), string(pattern(70_000))}},
		{"to exactly the limit", ws.OpText, []string{string(pattern(100)), string(pattern(maxEcho - 100))}},
		{"rune cut", ws.OpText, []string{"\xe2", "\x82", "\xac"}},
		{"rune cut, nothing between", ws.OpText, []string{"price: \xf0\x9f\x98", "", "\x80 ok"}},
	} {
		message := kit.Frame{Op: test.op, Body: []byte(strings.Join(test.parts, ""))}
		var plain, between, pongs []kit.Frame
		for i, part := range test.parts {
			f := kit.Frame{Op: ws.OpContinuation, Body: []byte(part), More: i < len(test.parts)-1}
			if i == 0 {
				f.Op = test.op
			}
			plain, between = append(plain, f), append(between, f)
			if f.More && i < 5 {
				ping := fmt.Appendf(nil, "between %d", i)
				between = append(between, kit.Frame{Op: ws.OpPing, Body: ping}, kit.Frame{Op: ws.OpPong, Body: ping})
				pongs = append(pongs, kit.Frame{Op: ws.OpPong, Body: ping})
			}
		}
		rules = append(rules,
			rule{"5.4", test.name + " in fragments", plain, []kit.Frame{message}, open},
			rule{"5.4", test.name + " in fragments, control frames between", between, append(pongs, message), open})
	}
	for _, size := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1300} {
		body := pattern(maxEcho)
		rules = append(rules, rule{"5.4", fmt.Sprintf("fragments of %d", size), fragments(ws.OpText, body, size), []kit.Frame{{Op: ws.OpText, Body: body}}, open})
	}
	first, last := kit.Frame{Op: ws.OpText, Body: []byte("o"), More: true}, kit.Frame{Op: ws.OpContinuation, Body: []byte("k")}
	next := kit.Frame{Op: ws.OpContinuation, Body: []byte("{}")}
	unended := kit.Frame{Op: ws.OpContinuation, Body: []byte("{}"), More: true}
	for _, r := range []rule{
		{name: "continuation of nothing", send: []kit.Frame{next}},
		{name: "continuation of nothing, then a text", send: []kit.Frame{next, kit.Text("late")}},
		{name: "open continuation of nothing", send: []kit.Frame{unended}},
		{name: "open continuation of nothing, then a text", send: []kit.Frame{unended, kit.Text("late")}},
		{name: "empty continuation of nothing", send: []kit.Frame{{Op: ws.OpContinuation}}},
		{name: "continuation after the end", send: []kit.Frame{first, last, last}, want: []kit.Frame{kit.Text("ok")}},
		{name: "open continuation after the end", send: []kit.Frame{first, last, unended, kit.Text("late")}, want: []kit.Frame{kit.Text("ok")}},
		{name: "text in a message", send: []kit.Frame{first, kit.Text("k")}},
		{name: "open text in a message", send: []kit.Frame{first, first}},
		{name: "binary in a message", send: []kit.Frame{first, kit.BinaryFrame("k")}},
		{name: "reserved opcode in a message", send: []kit.Frame{first, {Op: 3}, last}},
		{name: "reserved bit in a continuation", send: []kit.Frame{first, {Op: ws.OpContinuation, Rsv: 0x40}}},
		{name: "fragmented ping in a message", send: []kit.Frame{first, {Op: ws.OpPing, More: true}, last}},
	} {
		r.section, r.code = "5.4", 1002
		rules = append(rules, r)
	}
	return rules
}

// limitRules are those of section 10.4: a server bounds what a client may send.
func limitRules() []rule {
	endless := append([]kit.Frame{{Op: ws.OpText, More: true}},
		slices.Repeat([]kit.Frame{{Op: ws.OpContinuation, Body: pattern(1000), More: true}}, maxEcho/1000+1)...)
	part := func(n int) kit.Frame { return kit.Frame{Op: ws.OpText, Body: pattern(n), More: true} }
	return []rule{
		{"10.4", "said to be one over the limit", []kit.Frame{{Op: ws.OpText, Declares: maxEcho + 1}}, nil, 1009},
		{"10.4", "said to be of 4 GB", []kit.Frame{{Op: ws.OpBinary, Declares: 1 << 32}}, nil, 1009},
		{"10.4", "said to be of 2^63-1", []kit.Frame{{Op: ws.OpText, Declares: 1<<63 - 1}}, nil, 1009},
		{"10.4", "one over the limit", []kit.Frame{{Op: ws.OpText, Body: pattern(maxEcho + 1)}}, nil, 1009},
		{"10.4", "far over the limit", []kit.Frame{{Op: ws.OpBinary, Body: pattern(10 * maxEcho)}}, nil, 1009},
		{"10.4", "fragments, one over", []kit.Frame{part(maxEcho), {Op: ws.OpContinuation, Body: pattern(1)}}, nil, 1009},
		{"10.4", "fragments, said to be over", []kit.Frame{part(10), {Op: ws.OpContinuation, Declares: maxEcho}}, nil, 1009},
		{"10.4", "fragments, said to be of 2^63-1", []kit.Frame{part(10), {Op: ws.OpContinuation, Declares: 1<<63 - 1}}, nil, 1009},
		{"10.4", "endless fragments", endless, nil, 1009},
	}
}

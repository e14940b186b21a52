package enginetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/gobwas/ws"
)

// lengthRules are those of section 5.2 on how long a frame is.
func lengthRules() (rules []rule) {
	for _, size := range []int{
		0, 1, 2, 124, 125, 126, 127, 128, 1000, 4095, 4096, 4097, 65534, 65535, 65536, 65537, 131_072, maxEcho - 1, maxEcho,
	} {
		for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
			f := frame{op: op, body: pattern(size)}
			rules = append(rules, rule{"5.2", fmt.Sprintf("message of %d, opcode %d", size, op), []frame{f}, []frame{f}, open})
		}
	}
	// The minimal number of bytes must be used for a length, and the top bit of 64
	// must be 0.
	for _, f := range []frame{
		{op: ws.OpText, form: 16},
		{op: ws.OpText, body: pattern(5), form: 16},
		{op: ws.OpText, body: pattern(125), form: 16},
		{op: ws.OpText, form: 64},
		{op: ws.OpText, body: pattern(125), form: 64},
		{op: ws.OpText, body: pattern(126), form: 64},
		{op: ws.OpBinary, body: pattern(65535), form: 64},
		{op: ws.OpPing, body: pattern(5), form: 16},
		{op: ws.OpClose, form: 64},
	} {
		rules = append(rules, rule{"5.2", fmt.Sprintf("length %d in %d bits, opcode %d", len(f.body), f.form, f.op), []frame{f}, nil, 1002})
	}
	for _, length := range []uint64{1 << 63, 1<<63 + 5, 1<<64 - 1} {
		rules = append(rules, rule{"5.2", fmt.Sprintf("length %#x", length), []frame{{op: ws.OpBinary, declares: length}}, nil, 1002})
	}
	var many []frame
	for i := range 200 {
		many = append(many, text(fmt.Sprint(i)))
	}
	return append(rules, rule{"5.2", "many messages", many, many, open})
}

// headerRules are those on what else a frame's first bytes say.
func headerRules() (rules []rule) {
	before := text("before")
	// violation is a frame that is wrong, alone, and between others that are not.
	violation := func(section, name string, f frame) {
		rules = append(rules,
			rule{section, name, []frame{f}, nil, 1002},
			rule{section, name + ", between others", []frame{before, f, {op: ws.OpPing}}, []frame{before}, 1002})
	}
	for rsv := byte(1); rsv < 8; rsv++ {
		for _, f := range []frame{text("hello"), binaryFrame("hello"), {op: ws.OpPing}, closing(1000, "")} {
			f.rsv = rsv << 4
			violation("5.2", fmt.Sprintf("reserved bits %03b, opcode %d", rsv, f.op), f)
		}
	}
	for _, op := range []ws.OpCode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		violation("5.2", fmt.Sprintf("opcode %d", op), frame{op: op})
		violation("5.2", fmt.Sprintf("opcode %d with a payload", op), frame{op: op, body: []byte("{}")})
		violation("5.2", fmt.Sprintf("opcode %d, not the last", op), frame{op: op, more: true})
	}
	for _, f := range []frame{
		text("{}"), binaryFrame("\xff"), {op: ws.OpText}, {op: ws.OpPing}, {op: ws.OpPong}, closing(1000, ""), {op: ws.OpText, body: pattern(70_000)},
	} {
		f.unmasked = true
		violation("5.1", fmt.Sprintf("no mask, opcode %d of %d", f.op, len(f.body)), f)
	}
	for _, op := range []ws.OpCode{ws.OpPing, ws.OpPong, ws.OpClose} {
		violation("5.5", fmt.Sprintf("fragmented, opcode %d", op), frame{op: op, more: true})
		violation("5.5", fmt.Sprintf("opcode %d of 126", op), frame{op: op, body: pattern(126)})
		violation("5.5", fmt.Sprintf("opcode %d of 70,000", op), frame{op: op, body: pattern(70_000)})
		violation("5.5", fmt.Sprintf("opcode %d, said to be of 2^63-1", op), frame{op: op, declares: 1<<63 - 1})
	}
	return rules
}

// controlRules are those of sections 5.5.2 and 5.5.3.
var controlRules = func() (rules []rule) {
	payload := bytes.Repeat([]byte{0xff, 0}, 63)
	for size := range 126 {
		ping, pong := frame{op: ws.OpPing, body: payload[:size]}, frame{op: ws.OpPong, body: payload[:size]}
		rules = append(rules, rule{"5.5.2", fmt.Sprintf("ping of %d", size), []frame{ping}, []frame{pong}, open})
	}
	var pings, pongs []frame
	for i := range 10 {
		pings = append(pings, frame{op: ws.OpPing, body: fmt.Appendf(nil, "payload %d", i)})
		pongs = append(pongs, frame{op: ws.OpPong, body: fmt.Appendf(nil, "payload %d", i)})
	}
	unasked := frame{op: ws.OpPong, body: []byte("unasked")}
	return append(rules,
		rule{"5.5.2", "ten pings", pings, pongs, open},
		rule{"5.5.3", "pong that nobody asked for", []frame{unasked}, nil, open},
		rule{"5.5.3", "empty pong that nobody asked for", []frame{{op: ws.OpPong}}, nil, open},
		rule{"5.5.3", "pong that nobody asked for, then a ping", []frame{unasked, pings[0]}, pongs[:1], open},
		rule{"5.5.3", "pong of 125", []frame{{op: ws.OpPong, body: payload[:125]}, pings[0]}, pongs[:1], open})
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
		message := frame{op: test.op, body: []byte(strings.Join(test.parts, ""))}
		var plain, between, pongs []frame
		for i, part := range test.parts {
			f := frame{op: ws.OpContinuation, body: []byte(part), more: i < len(test.parts)-1}
			if i == 0 {
				f.op = test.op
			}
			plain, between = append(plain, f), append(between, f)
			if f.more && i < 5 {
				ping := fmt.Appendf(nil, "between %d", i)
				between = append(between, frame{op: ws.OpPing, body: ping}, frame{op: ws.OpPong, body: ping})
				pongs = append(pongs, frame{op: ws.OpPong, body: ping})
			}
		}
		rules = append(rules,
			rule{"5.4", test.name + " in fragments", plain, []frame{message}, open},
			rule{"5.4", test.name + " in fragments, control frames between", between, append(pongs, message), open})
	}
	for _, size := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1300} {
		body := pattern(maxEcho)
		rules = append(rules, rule{"5.4", fmt.Sprintf("fragments of %d", size), fragments(ws.OpText, body, size), []frame{{op: ws.OpText, body: body}}, open})
	}
	first, last := frame{op: ws.OpText, body: []byte("o"), more: true}, frame{op: ws.OpContinuation, body: []byte("k")}
	next := frame{op: ws.OpContinuation, body: []byte("{}")}
	unended := frame{op: ws.OpContinuation, body: []byte("{}"), more: true}
	for _, r := range []rule{
		{name: "continuation of nothing", send: []frame{next}},
		{name: "continuation of nothing, then a text", send: []frame{next, text("late")}},
		{name: "open continuation of nothing", send: []frame{unended}},
		{name: "open continuation of nothing, then a text", send: []frame{unended, text("late")}},
		{name: "empty continuation of nothing", send: []frame{{op: ws.OpContinuation}}},
		{name: "continuation after the end", send: []frame{first, last, last}, want: []frame{text("ok")}},
		{name: "open continuation after the end", send: []frame{first, last, unended, text("late")}, want: []frame{text("ok")}},
		{name: "text in a message", send: []frame{first, text("k")}},
		{name: "open text in a message", send: []frame{first, first}},
		{name: "binary in a message", send: []frame{first, binaryFrame("k")}},
		{name: "reserved opcode in a message", send: []frame{first, {op: 3}, last}},
		{name: "reserved bit in a continuation", send: []frame{first, {op: ws.OpContinuation, rsv: 0x40}}},
		{name: "fragmented ping in a message", send: []frame{first, {op: ws.OpPing, more: true}, last}},
	} {
		r.section, r.code = "5.4", 1002
		rules = append(rules, r)
	}
	return rules
}

// limitRules are those of section 10.4: a server bounds what a client may send.
func limitRules() []rule {
	endless := append([]frame{{op: ws.OpText, more: true}},
		slices.Repeat([]frame{{op: ws.OpContinuation, body: pattern(1000), more: true}}, maxEcho/1000+1)...)
	part := func(n int) frame { return frame{op: ws.OpText, body: pattern(n), more: true} }
	return []rule{
		{"10.4", "said to be one over the limit", []frame{{op: ws.OpText, declares: maxEcho + 1}}, nil, 1009},
		{"10.4", "said to be of 4 GB", []frame{{op: ws.OpBinary, declares: 1 << 32}}, nil, 1009},
		{"10.4", "said to be of 2^63-1", []frame{{op: ws.OpText, declares: 1<<63 - 1}}, nil, 1009},
		{"10.4", "one over the limit", []frame{{op: ws.OpText, body: pattern(maxEcho + 1)}}, nil, 1009},
		{"10.4", "far over the limit", []frame{{op: ws.OpBinary, body: pattern(10 * maxEcho)}}, nil, 1009},
		{"10.4", "fragments, one over", []frame{part(maxEcho), {op: ws.OpContinuation, body: pattern(1)}}, nil, 1009},
		{"10.4", "fragments, said to be over", []frame{part(10), {op: ws.OpContinuation, declares: maxEcho}}, nil, 1009},
		{"10.4", "fragments, said to be of 2^63-1", []frame{part(10), {op: ws.OpContinuation, declares: 1<<63 - 1}}, nil, 1009},
		{"10.4", "endless fragments", endless, nil, 1009},
	}
}

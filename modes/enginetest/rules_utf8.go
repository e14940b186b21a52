package enginetest

import (
	"fmt"
	"strings"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

var validTexts = func() []string {
	texts := []string{
		"hello$world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε",
		"\x00", "\u007f", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff", "\ud7ff", "\ue000",
		"\ufffd", "\ufeffBOM", "\U0001f600", "\ufff9", "\ufffa", "\ufffb", "\ufffc",
	}
	// Noncharacters are valid characters: two at the end of each plane, and
	// U+FDD0 to U+FDEF.
	for plane := rune(0); plane <= 0x10; plane++ {
		texts = append(texts, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return append(texts, "\ufdd0", "\ufdef", strings.Join(texts, ""))
}()

var invalidTexts = []struct{ name, text string }{
	{"lone continuation", "\x80"},
	{"last lone continuation", "\xbf"},
	{"two continuations", "a\x80\xbf"},
	{"seven continuations", "\x80\xbf\x80\xbf\x80\xbf\x80"},
	{"byte 0xfe", "\xfe"},
	{"byte 0xff", "ok\xffok"},
	{"bytes 0xfe 0xfe 0xff 0xff", "\xfe\xfe\xff\xff"},
	{"lone start of 2", "\xc3 "},
	{"lone start of 3", "\xe2 "},
	{"lone start of 4", "\xf0 "},
	{"lone start of 5", "\xf8 "},
	{"lone start of 6", "\xfc "},
	{"truncated 2", "\xc3"},
	{"truncated 3", "\xe2\x82"},
	{"truncated 3, one byte", "\xe2"},
	{"truncated 4", "\xf0\x9f\x98"},
	{"truncated 4, two bytes", "\xf0\x9f"},
	{"truncated 4, one byte", "\xf0"},
	{"truncated, then text", "\xe2\x82abc"},
	{"truncated, then truncated", "\xc3\xe2\x82\xf0\x9f\x98"},
	{"overlong slash, 2", "\xc0\xaf"},
	{"overlong slash, 3", "\xe0\x80\xaf"},
	{"overlong slash, 4", "\xf0\x80\x80\xaf"},
	{"overlong slash, 5", "\xf8\x80\x80\x80\xaf"},
	{"overlong slash, 6", "\xfc\x80\x80\x80\x80\xaf"},
	{"overlong NUL, 2", "\xc0\x80"},
	{"overlong NUL, 3", "\xe0\x80\x80"},
	{"overlong NUL, 4", "\xf0\x80\x80\x80"},
	{"largest overlong, 2", "\xc1\xbf"},
	{"largest overlong, 3", "\xe0\x9f\xbf"},
	{"largest overlong, 4", "\xf0\x8f\xbf\xbf"},
	{"first surrogate", "\xed\xa0\x80"},
	{"last high surrogate", "\xed\xaf\xbf"},
	{"first low surrogate", "\xed\xb0\x80"},
	{"last surrogate", "\xed\xbf\xbf"},
	{"surrogate pair", "\xed\xa0\xbd\xed\xb8\x80"},
	{"above U+10FFFF", "\xf4\x90\x80\x80"},
	{"start 0xf5", "\xf5\x80\x80\x80"},
	{"five bytes", "\xf8\x88\x80\x80\x80"},
	{"six bytes", "\xfc\x84\x80\x80\x80\x80"},
	{"after valid text", "κόσμε\xed\xa0\x80edited"},
	{"in the last of 1,000", strings.Repeat("x", 999) + "\xff"},
	{"cut rune at 1,000 bytes", strings.Repeat("x", 998) + "\xe2\x82"},
}

// utf8Rules are those of section 8.1.
func utf8Rules() (rules []rule) {
	for _, s := range validTexts {
		name := fmt.Sprintf("%.20q", s)
		rules = append(rules,
			rule{"8.1", name, []kit.Frame{kit.Text(s)}, []kit.Frame{kit.Text(s)}, open},
			rule{"8.1", name + ", a byte a fragment", fragments(ws.OpText, []byte(s), 1), []kit.Frame{kit.Text(s)}, open})
	}
	for _, test := range invalidTexts {
		rules = append(rules,
			rule{"8.1", test.name, []kit.Frame{kit.Text(test.text)}, nil, 1007},
			rule{"8.1", test.name + ", a byte a fragment", fragments(ws.OpText, []byte(test.text), 1), nil, 1007},
			rule{"8.1", test.name + ", behind a message", []kit.Frame{kit.Text("before"), kit.Text(test.text)}, []kit.Frame{kit.Text("before")}, 1007},
			// A binary message may hold anything.
			rule{"5.6", test.name + ", binary", []kit.Frame{kit.BinaryFrame(test.text)}, []kit.Frame{kit.BinaryFrame(test.text)}, open})
	}
	// What is certainly no UTF-8 fails before the rest has come, which it never
	// does here.
	for name, start := range map[string]string{
		"surrogate": "\xed\xa0", "above U+10FFFF": "\xf4\x90", "overlong": "\xe0\x80", "overlong of 4": "\xf0\x8f", "lone continuation": "\x80",
		"never a start": "\xc0", "start of 5": "\xf8", "start, then text": "\xe2a",
	} {
		ok := kit.Frame{Op: ws.OpText, Body: []byte("κόσμε ok \xe2\x82"), More: true}
		rules = append(rules,
			rule{"8.1", name + " fails in the middle of a frame", []kit.Frame{{Op: ws.OpText, Body: []byte("ok " + start), Declares: 10_000}}, nil, 1007},
			rule{"8.1", name + " fails in the middle of a fragment", []kit.Frame{{Op: ws.OpText, Body: []byte("ok " + start), Declares: 10_000, More: true}}, nil, 1007},
			rule{"8.1", name + " fails between fragments", []kit.Frame{{Op: ws.OpText, Body: []byte("ok " + start), More: true}}, nil, 1007},
			rule{"8.1", name + " fails across fragments", []kit.Frame{ok, {Op: ws.OpContinuation, Body: []byte("\xac" + start), Declares: 10_000, More: true}}, nil, 1007},
			rule{"8.1", name + " fails across fragments, a ping between", []kit.Frame{
				ok, {Op: ws.OpPing}, {Op: ws.OpContinuation, Body: []byte("\xac" + start), More: true},
			}, []kit.Frame{{Op: ws.OpPong}}, 1007})
	}
	return rules
}

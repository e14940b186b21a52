package enginetest

import (
	"fmt"
	"strings"

	"github.com/gobwas/ws"
)

// noCode is the code of a close frame without one (RFC 6455 section 7.1.5).
const noCode = 1005

// closeRules are those of sections 5.5.1, 7.1 and 7.4.
func closeRules() (rules []rule) {
	row := func(section, name string, code int, send ...frame) {
		rules = append(rules, rule{section, name, send, nil, code})
	}
	row("5.5.1", "empty close", noCode, frame{op: ws.OpClose})
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3500, 3999, 4000, 4500, 4999} {
		row("7.4", fmt.Sprintf("close %d", code), int(code), closing(code, ""))
		row("7.4", fmt.Sprintf("close %d with a reason", code), int(code), closing(code, "bye, κόσμε"))
	}
	row("5.5.1", "reason of 123", 1000, closing(1000, strings.Repeat("x", 123)))
	row("5.5.1", "reason of 122 and its rune at the end", 1000, closing(1000, strings.Repeat("x", 121)+"\u00e9"))
	row("5.5.1", "body of 126", 1002, closing(1000, strings.Repeat("x", 124)))
	row("5.5.1", "body of 1,000", 1002, closing(1000, strings.Repeat("x", 998)))
	row("5.5.1", "body of 1 byte", 1002, frame{op: ws.OpClose, body: []byte{3}})
	for _, code := range []uint16{
		0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1017, 1100, 1999, 2000, 2999, 5000, 9999, 65535,
	} {
		row("7.4", fmt.Sprintf("close %d, which nobody may send", code), 1002, closing(code, ""))
		row("7.4", fmt.Sprintf("close %d with a reason, which nobody may send", code), 1002, closing(code, "x"))
	}
	row("7.4", "bad code and bad reason", 1002, closing(1005, "\xff"))
	for name, reason := range map[string]string{
		"bad": "\xff", "cut": "\xe2\x82", "surrogate": "\xed\xa0\x80", "overlong": "\xc0\xaf", "late": "κόσμε\xed\xa0\x80edited",
	} {
		row("8.1", "reason that is no UTF-8, "+name, 1007, closing(1000, reason))
	}

	// What follows a close frame is not looked at.
	for name, after := range map[string][]frame{
		"text": {text("late")}, "ping": {{op: ws.OpPing}}, "close": {closing(1001, "")}, "violation": {{op: 3, rsv: 0x70}},
		"rest of the message": {{op: ws.OpContinuation, body: []byte("late")}}, "large text": {{op: ws.OpText, body: pattern(100_000)}},
	} {
		row("5.5.1", "close, then a "+name, 1000, append([]frame{closing(1000, "")}, after...)...)
	}
	begun := frame{op: ws.OpText, body: []byte("begun"), more: true}
	row("5.5.1", "close in a message", 1000, begun, closing(1000, ""))
	row("5.5.1", "close in a message, then its end", 1000, begun, closing(1000, ""), frame{op: ws.OpContinuation, body: []byte("late")})
	large := frame{op: ws.OpText, body: pattern(maxEcho)}
	return append(rules,
		rule{"5.5.1", "close behind a message", []frame{text("before"), closing(1000, "")}, []frame{text("before")}, 1000},
		rule{"5.5.1", "close behind a large message", []frame{large, closing(1000, "")}, []frame{large}, 1000})
}

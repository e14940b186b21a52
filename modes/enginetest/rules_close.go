package enginetest

import (
	"fmt"
	"strings"

	"github.com/gobwas/ws"

	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

// noCode is the code of a close frame without one (RFC 6455 section 7.1.5).
const noCode = 1005

// closeRules are those of sections 5.5.1, 7.1 and 7.4.
func closeRules() (rules []rule) {
	row := func(section, name string, code int, send ...kit.Frame) {
		rules = append(rules, rule{section, name, send, nil, code})
	}
	row("5.5.1", "empty close", noCode, kit.Frame{Op: ws.OpClose})
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3500, 3999, 4000, 4500, 4999} {
		row("7.4", fmt.Sprintf("close %d", code), int(code), kit.Closing(code, ""))
		row("7.4", fmt.Sprintf("close %d with a reason", code), int(code), kit.Closing(code, "bye, κόσμε"))
	}
	row("5.5.1", "reason of 123", 1000, kit.Closing(1000, strings.Repeat("x", 123)))
	row("5.5.1", "reason of 122 and its rune at the end", 1000, kit.Closing(1000, strings.Repeat("x", 121)+"\u00e9"))
	row("5.5.1", "body of 126", 1002, kit.Closing(1000, strings.Repeat("x", 124)))
	row("5.5.1", "body of 1,000", 1002, kit.Closing(1000, strings.Repeat("x", 998)))
	row("5.5.1", "body of 1 byte", 1002, kit.Frame{Op: ws.OpClose, Body: []byte{3}})
	for _, code := range []uint16{
		0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1017, 1100, 1999, 2000, 2999, 5000, 9999, 65535,
	} {
		row("7.4", fmt.Sprintf("close %d, which nobody may send", code), 1002, kit.Closing(code, ""))
		row("7.4", fmt.Sprintf("close %d with a reason, which nobody may send", code), 1002, kit.Closing(code, "x"))
	}
	row("7.4", "bad code and bad reason", 1002, kit.Closing(1005, "\xff"))
	for name, reason := range map[string]string{
		"bad": "\xff", "cut": "\xe2\x82", "surrogate": "\xed\xa0\x80", "overlong": "\xc0\xaf", "late": "κόσμε\xed\xa0\x80edited",
	} {
		row("8.1", "reason that is no UTF-8, "+name, 1007, kit.Closing(1000, reason))
	}

	// What follows a close frame is not looked at.
	for name, after := range map[string][]kit.Frame{
		"text": {kit.Text("late")}, "ping": {{Op: ws.OpPing}}, "close": {kit.Closing(1001, "")}, "violation": {{Op: 3, Rsv: 0x70}},
		"rest of the message": {{Op: ws.OpContinuation, Body: []byte("late")}}, "large text": {{Op: ws.OpText, Body: pattern(100_000)}},
	} {
		row("5.5.1", "close, then a "+name, 1000, append([]kit.Frame{kit.Closing(1000, "")}, after...)...)
	}
	begun := kit.Frame{Op: ws.OpText, Body: []byte("begun"), More: true}
	row("5.5.1", "close in a message", 1000, begun, kit.Closing(1000, ""))
	row("5.5.1", "close in a message, then its end", 1000, begun, kit.Closing(1000, ""), kit.Frame{Op: ws.OpContinuation, Body: []byte("late")})
	large := kit.Frame{Op: ws.OpText, Body: pattern(maxEcho)}
	return append(rules,
		rule{"5.5.1", "close behind a message", []kit.Frame{kit.Text("before"), kit.Closing(1000, "")}, []kit.Frame{kit.Text("before")}, 1000},
		rule{"5.5.1", "close behind a large message", []kit.Frame{large, kit.Closing(1000, "")}, []kit.Frame{large}, 1000})
}

package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"
)

// FuzzCommands: whatever comes is refused as malformed or yields commands, of
// which none is lost and none is read from outside the message.
func FuzzCommands(f *testing.F) {
	f.Add(true, []byte(`{"id":1,"connect":{}}`+"\n"+`{"id":2,"subscribe":{"channel":"news"}}`))
	f.Add(true, []byte("{}"))
	f.Add(true, []byte("null"))
	f.Add(true, []byte("{}\n\n{}"))
	f.Add(false, []byte{0})
	f.Add(false, []byte{2, 8, 1})
	f.Fuzz(func(t *testing.T, text bool, message []byte) {
		p := Protobuf
		if text {
			p = JSON
		}
		before, n := string(message), 0
		var err error
		var command protocol.Command
		for rest := message; err == nil && (n == 0 || len(rest) > 0); {
			if rest, err = Next(p, rest, &command); err == nil {
				n++
			}
		}
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("error %v is not ErrMalformed", err)
		}
		if err == nil && n == 0 {
			t.Error("neither a command nor an error")
		}
		if text && err == nil {
			if lines := strings.Count(strings.TrimSuffix(before, "\n"), "\n") + 1; n != lines {
				t.Errorf("%d commands in %d lines", n, lines)
			}
		}
		for most := range 2 * n {
			if more := MoreCommands(p, message, most); err == nil && more != (n > most) {
				t.Errorf("more than %d commands: %v, there are %d", most, more, n)
			}
		}
		if string(message) != before {
			t.Error("the message was written to")
		}
	})
}

// TestPush: what a publication becomes, on one line of valid JSON, whatever it was.
func TestPush(t *testing.T) {
	for name, c := range map[string]struct {
		data, want string
		repaired   bool
	}{
		"object":            {data: `{"a": 1}`, want: `{"a": 1}`},
		"number":            {data: `12`, want: `12`},
		"no JSON":           {data: `hello "you"`, want: `"hello \"you\""`},
		"empty":             {data: ``, want: `""`},
		"lines":             {data: "{\n \"a\":\r\n 1}", want: `{"a":1}`},
		"bad UTF-8":         {data: "a\xffb", want: `"a` + "\uFFFD" + `b"`, repaired: true},
		"bad UTF-8 in JSON": {data: "\"\xff\"", want: `"` + "\uFFFD" + `"`, repaired: true},
	} {
		t.Run(name, func(t *testing.T) {
			frame, repaired := PushFrame(JSON, "ch\"\n", []byte(c.data))
			if repaired != c.repaired {
				t.Errorf("repaired %v, want %v", repaired, c.repaired)
			}
			payload := frame.Payload()
			if frame.OpCode() != ws.OpText || !utf8.Valid(payload) || strings.ContainsRune(string(payload), '\n') {
				t.Errorf("frame op %v %q", frame.OpCode(), payload)
			}
			var got struct {
				Push struct {
					Channel string
					Pub     struct{ Data json.RawMessage }
				}
			}
			if err := json.Unmarshal(payload, &got); err != nil {
				t.Fatal(err)
			}
			if got.Push.Channel != "ch\"\n" || string(got.Push.Pub.Data) != c.want {
				t.Errorf("channel %q data %s, want %s", got.Push.Channel, got.Push.Pub.Data, c.want)
			}
		})
	}
	if frame, _ := PushFrame(Raw, "x", []byte("a\xff")); frame.OpCode() != ws.OpBinary || string(frame.Payload()) != "a\xff" {
		t.Errorf("raw bytes that are no UTF-8: op %v %q", frame.OpCode(), frame.Payload())
	}
}

func TestFrameHeaders(t *testing.T) {
	for size, header := range map[int]int{0: 2, 125: 2, 126: 4, 65535: 4, 65536: 10} {
		frame := NewFrame(ws.OpText, make([]byte, size))
		if len(frame) != header+size || len(frame.Payload()) != size {
			t.Errorf("payload of %d: frame of %d, payload %d", size, len(frame), len(frame.Payload()))
		}
		reply := ReplyFrame(JSON, &protocol.Reply{Id: 1, Error: &protocol.Error{Code: 1, Message: strings.Repeat("x", size)}})
		if !json.Valid(reply.Payload()) {
			t.Errorf("reply of %d bytes is no JSON behind its header", len(reply))
		}
	}
}

func TestCloseFrames(t *testing.T) {
	long := CloseFrame(Disconnect{3000, strings.Repeat("é", 100)})
	if body := long.Payload(); len(body) > 125 || !utf8.Valid(body[2:]) {
		t.Errorf("close body of %d bytes: %q", len(body), body)
	}
	for body, want := range map[string]Disconnect{
		"":                 DisconnectNormal,
		"\x03\xe8":         DisconnectNormal,
		"\x03\xe8bye":      DisconnectNormal,
		"\x0f\xa0":         DisconnectNormal,
		"\x03":             DisconnectProtocol,
		"\x03\xed":         DisconnectProtocol, // 1005
		"\x07\xd0":         DisconnectProtocol, // 2000
		"\x03\xe8\xff\xfe": DisconnectInvalidPayload,
	} {
		if _, got := CloseReply([]byte(body)); got != want {
			t.Errorf("close body %q: %v, want %v", body, got, want)
		}
	}
}

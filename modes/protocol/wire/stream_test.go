package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzStreamPush: whatever is published, its event and its line carry it, and where
// they end can be told in a buffer of several.
func FuzzStreamPush(f *testing.F) {
	for _, data := range []string{"", "a", "\n", "\r\n\r", "a\n\nb", `{"a":"\n"}`, "{\n}", "\xff\n\xfe", "data: x\n\n", ": \n"} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range []Protocol{SSE, Stream} {
			frame, repaired := PushFrame(p, "news", data)
			if repaired == utf8.Valid(data) || !utf8.Valid(frame) {
				t.Errorf("%v: repaired %t, UTF-8 %t", p, repaired, utf8.Valid(frame))
			}
			buffer := append(append(append([]byte(nil), PingFrame(p)...), frame...), frame...)
			for _, want := range []int{len(PingFrame(p)), len(frame), len(frame)} {
				if got := p.FrameEnd(buffer); got != want {
					t.Fatalf("%v: the message ends at %d of %q, want %d", p, got, buffer, want)
				}
				buffer = buffer[want:]
			}
		}
		text := strings.ToValidUTF8(string(data), "\uFFFD")
		frame, _ := PushFrame(SSE, "news", data)
		var lines []string
		for line := range strings.SplitSeq(strings.TrimSuffix(string(frame), "\n\n"), "\n") {
			value, ok := strings.CutPrefix(line, "data: ")
			if !ok || strings.Contains(value, "\r") {
				t.Fatalf("line %q of an event", line)
			}
			lines = append(lines, value)
		}
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("the event says %q, want %q", got, want)
		}
		line, _ := PushFrame(Stream, "news", data)
		if !json.Valid(line) || strings.Contains(strings.TrimSuffix(string(line), "\n"), "\n") {
			t.Errorf("line %q is not one of JSON", line)
		}
		if !json.Valid([]byte(text)) {
			var got string
			if err := json.Unmarshal(line, &got); err != nil || got != text {
				t.Errorf("line %q says %q, want %q", line, got, text)
			}
		}
	})
}

func TestEndFrames(t *testing.T) {
	pauses := make(map[string]bool)
	for range 50 {
		retry, rest, _ := strings.Cut(string(EndFrame(SSE, DisconnectShutdown)), "\n")
		if want := "event: disconnect\ndata: {\"code\":3001,\"reason\":\"shutdown\"}\n\n"; rest != want {
			t.Fatalf("%q, want %q", rest, want)
		}
		pauses[retry] = true
	}
	if len(pauses) < 10 {
		t.Errorf("only %d different pauses in 50: %v", len(pauses), pauses)
	}
	if got := EndFrame(Stream, DisconnectShutdown); got != nil {
		t.Errorf("a stream ends with %q, want nothing", got)
	}
	if got := EndFrame(Raw, DisconnectShutdown); string(got) != string(CloseFrame(DisconnectShutdown)) {
		t.Errorf("a WebSocket ends with %q, want a close frame", got)
	}
}

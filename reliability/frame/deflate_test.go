package frame

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestReadDeflate(t *testing.T) {
	for _, c := range []struct {
		name, frame, body string
		compressed        bool
		err               error
	}{
		// RFC 7692 section 7.2.3.1
		{"compressed", "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello", true, nil},
		// RFC 7692 section 7.2.3.3: a block without compression
		{"stored", "\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello", true, nil},
		{"plain", "\x81\x05Hello", "Hello", false, nil},
		{"cut", "\xc1\x03\xf2\x48\xcd", "", true, ErrFrame},
		{"control frame", "\xc9\x07\xf2\x48\xcd\xc9\xc9\x07\x00", "", true, ErrFrame},
		{"another reserved bit", "\xa1\x05Hello", "", false, ErrFrame},
	} {
		_, body, compressed, err := ReadDeflate(bufio.NewReader(strings.NewReader(c.frame)), nil)
		if !errors.Is(err, c.err) || err == nil && (string(body) != c.body || compressed != c.compressed) {
			t.Errorf("%s: %q, compressed %t, %v; want %q, %t, %v", c.name, body, compressed, err, c.body, c.compressed, c.err)
		}
	}
	if _, _, err := Read(bufio.NewReader(strings.NewReader("\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00")), nil); !errors.Is(err, ErrFrame) {
		t.Errorf("a compressed frame that nobody agreed on: %v, want %v", err, ErrFrame)
	}
}

// A sent message inflates to the original.
func TestAppendDeflate(t *testing.T) {
	const prefix = "before"
	text := strings.Repeat("Tandem ", 16)
	sent := AppendDeflate([]byte(prefix), Text, []byte(text))
	frame, found := bytes.CutPrefix(sent, []byte(prefix))
	if !found || len(frame) >= len(text) {
		t.Fatalf("%d bytes of frame, want fewer than the text's %d, behind %q", len(frame), len(text), prefix)
	}
	// as if from a server: without the mask, which is all zeros
	frame = append([]byte{frame[0], frame[1] &^ 0x80}, frame[6:]...)
	op, body, compressed, err := ReadDeflate(bufio.NewReader(bytes.NewReader(frame)), nil)
	if op != Text || string(body) != text || !compressed || err != nil {
		t.Errorf("got opcode %d, %q, compressed %t, %v", op, body, compressed, err)
	}
}

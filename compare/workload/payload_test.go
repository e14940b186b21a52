package workload

import (
	"encoding/json"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for _, m := range []Message{
		{Sequence: 1, Channel: 0, Time: 1764000000000000000},
		{Sequence: MaxSequence, Channel: MaxChannel, Time: 1764012345678901234},
		{Sequence: 1234567890, Channel: 12345678, Time: 9199999999999999999},
	} {
		for _, size := range []int{MinSize, MinSize + 1, 128, 1000} {
			b := AppendMessage(nil, m, size)
			if len(b) != size {
				t.Fatalf("size %d: got %d bytes", size, len(b))
			}
			var fields struct {
				S uint64
				T int64
				C uint64
				P string
			}
			if err := json.Unmarshal(b, &fields); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			if got := uint32(fields.S - sequenceBase); got != m.Sequence || fields.T != m.Time || uint32(fields.C-channelBase) != m.Channel {
				t.Errorf("%s carries %+v, want %+v", b, fields, m)
			}
			got, ok := ParseMessage(b, 0)
			if !ok || got != m {
				t.Errorf("ParseMessage(%s) = %+v, %v; want %+v", b, got, ok, m)
			}
			wrapped := append([]byte(`{"push":{"pub":{"data":`), b...)
			got, at, ok := FindMessage(wrapped)
			if !ok || at != 23 || got != m {
				t.Errorf("FindMessage(%s) = %+v, %d, %v", wrapped, got, at, ok)
			}
		}
	}
}

func TestParseRejects(t *testing.T) {
	whole := AppendMessage(nil, Message{Sequence: 7, Channel: 9, Time: 1764000000000000000}, 128)
	if _, ok := ParseMessage(whole[:PrefixSize-1], 0); ok {
		t.Error("a payload cut short was taken")
	}
	if _, ok := ParseMessage(whole, 1); ok {
		t.Error("a wrong offset was taken")
	}
	if _, ok := ParseMessage(whole, -1); ok {
		t.Error("a negative offset was taken")
	}
	digitsOrMarks := PrefixSize
	for i := range digitsOrMarks {
		if i == sequenceAt-1 || i == timeAt-5 || i == channelAt-5 {
			continue // colon and commas are implied by their neighbours
		}
		for _, c := range []byte{'/', ':', 'x', 0, 0xff} {
			bad := append([]byte(nil), whole...)
			if bad[i] == c {
				continue
			}
			bad[i] = c
			if m, ok := ParseMessage(bad, 0); ok {
				t.Errorf("byte %d set to %q was taken as %+v", i, c, m)
			}
		}
	}
	below := append([]byte(nil), whole...)
	below[sequenceAt] = '0'
	if _, ok := ParseMessage(below, 0); ok {
		t.Error("a sequence number below the base was taken")
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	b := AppendMessage(nil, Message{Sequence: 1, Time: 1764000000000000000}, 128)
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := ParseMessage(b, 0); !ok {
			t.Fatal("not parsed")
		}
		b = AppendMessage(b[:0], Message{Sequence: 2, Time: 1764000000000000000}, 128)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkParse(b *testing.B) {
	p := AppendMessage(nil, Message{Sequence: 1, Time: 1764000000000000000}, 128)
	for b.Loop() {
		if _, ok := ParseMessage(p, 0); !ok {
			b.Fatal("not parsed")
		}
	}
}

package wire

import (
	"bytes"
	stdflate "compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// deflated is message as another implementation compresses it.
func deflated(t testing.TB, level int, message []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := stdflate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(message); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte(deflateTail))
}

// inflated is what a reader makes of a payload that has seen no other, or its
// first megabyte.
func inflated(payload []byte) ([]byte, error) {
	r := stdflate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader(deflateTail+finalBlock)))
	return io.ReadAll(io.LimitReader(r, 1<<20))
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

func TestDeflate(t *testing.T) {
	for name, c := range map[string]struct {
		payload           []byte
		tried, compressed bool
	}{
		"empty":       {nil, false, false},
		"small":       {bytes.Repeat([]byte("a"), deflateLeast-1), false, false},
		"text":        {bytes.Repeat([]byte("a"), deflateLeast), true, true},
		"noise":       {noise(1000), true, false},
		"large":       {bytes.Repeat([]byte(`{"price":1.5,"name":"x"},`), 10_000), true, true},
		"large noise": {noise(300_000), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			plain := NewFrame(ws.OpText, c.payload)
			frame, tried := plain.Deflate()
			if tried != c.tried || frame.Deflated() != c.compressed {
				t.Fatalf("tried %t, compressed %t, want %t, %t", tried, frame.Deflated(), c.tried, c.compressed)
			}
			if got := AppendDeflated([]byte("before"), ws.OpText, c.payload); !bytes.Equal(got, append([]byte("before"), frame...)) {
				t.Errorf("AppendDeflated makes another frame than Deflate")
			}
			if !c.compressed {
				if &frame[0] != &plain[0] {
					t.Error("the plain frame was copied")
				}
				return
			}
			if frame.OpCode() != ws.OpText || len(frame) >= len(plain) {
				t.Errorf("op %v, %d bytes of %d", frame.OpCode(), len(frame), len(plain))
			}
			got, err := inflated(frame.Payload())
			if err != nil || !bytes.Equal(got, c.payload) {
				t.Errorf("inflates to %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestInflate: the examples of RFC 7692 section 7.2.3, and what is none.
func TestInflate(t *testing.T) {
	const limit = 1000
	long := strings.Repeat("x", limit)
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	for name, c := range map[string]struct {
		payload, want string
		err           error
	}{
		"7.2.3.1 one block":                {hello, "Hello", nil},
		"7.2.3.3 no compression":           {"\x00\x05\x00\xfa\xffHello\x00", "Hello", nil},
		"7.2.3.4 last block":               {"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello", nil},
		"7.2.3.5 two blocks":               {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello", nil},
		"7.2.3.6 empty":                    {"\x00", "", nil},
		"no byte at all":                   {"", "", nil},
		"empty, fixed codes":               {"\x02\x00", "", nil},
		"last block and nothing behind it": {"\x01\x05\x00\xfa\xffHello", "Hello", nil},
		"a message behind a last block":    {"\x01\x05\x00\xfa\xffHello" + hello, "HelloHello", nil},
		"two last blocks":                  {"\x01\x05\x00\xfa\xffHello\x01\x05\x00\xfa\xffHello", "HelloHello", nil},
		"rubbish behind a last block":      {"\x01\x05\x00\xfa\xffHello\xff", "", ErrInflate},
		"back beyond a last block":         {"\xf3\x48\xcd\xc9\xc9\x07\x00\x02\x13\x00\x00", "", ErrInflate},
		"block of kind 3":                  {"\x07", "", ErrInflate},
		"rubbish":                          {"\xff\xff\xff", "", ErrInflate},
		"wrong check of a length":          {"\x00\x05\x00\xfa\xfeHello\x00", "", ErrInflate},
		"cut in a stored block":            {"\x00\xff\x00\x00\xffHello", "", ErrInflate},
		"cut in a block of codes":          {string(deflated(t, 6, []byte(long[:300]+"abcdefg")))[:5], "", ErrInflate},
		"distance too far back":            {"\x4b\x04\x12\x00", "", ErrInflate},
		"no UTF-8":                         {string(deflated(t, 6, []byte("a\xffb"))), "", ErrInflatedText},
		"cut rune":                         {string(deflated(t, 6, []byte("a\xe2\x82"))), "", ErrInflatedText},
		"at the limit":                     {string(deflated(t, 6, []byte(long))), long, nil},
		"over the limit":                   {string(deflated(t, 6, []byte(long+"x"))), "", ErrInflatedSize},
		"over the limit in two streams":    {"\x01\x05\x00\xfa\xffHello" + string(deflated(t, 6, []byte(long[:limit-4]))), "", ErrInflatedSize},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Inflate([]byte("before"), ws.OpText, []byte(c.payload), limit)
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v; got %.80q", err, c.err, got)
			}
			if end := InflateEnd(c.err); c.err != nil && (end == DisconnectTooBig) != errors.Is(c.err, ErrInflatedSize) {
				t.Errorf("ends with %v", end)
			}
			if err == nil && string(got) != "before"+c.want {
				t.Errorf("got %.80q, want %.80q", got, c.want)
			}
			// One that fails leaves nothing to the next.
			if again, err := Inflate(nil, ws.OpText, []byte(hello), limit); err != nil || string(again) != "Hello" {
				t.Errorf("the next message: %.80q, %v", again, err)
			}
		})
	}
}

// TestInflateBoundsMemory: a message of a thousandth of what it inflates to
// makes room for the limit and no more.
func TestInflateBoundsMemory(t *testing.T) {
	const limit = 100_000
	bomb := deflated(t, 9, make([]byte, 64<<20))
	got, err := Inflate(nil, ws.OpText, bomb, limit)
	if !errors.Is(err, ErrInflatedSize) {
		t.Fatalf("error %v", err)
	}
	// The runtime rounds sizes up by less than a quarter.
	if cap(got) > limit*5/4 {
		t.Errorf("a buffer of %d bytes for a limit of %d", cap(got), limit)
	}
}

// TestDeflatedLimit: what zlib's settings make of a message of the largest size
// that does not compress is still let in.
func TestDeflatedLimit(t *testing.T) {
	for _, limit := range []int{0, 1, 128, 1000, 65536, 1 << 20} {
		for _, level := range []int{stdflate.HuffmanOnly, stdflate.NoCompression, 1, 6, 9} {
			if n := len(deflated(t, level, noise(limit))); n > DeflatedLimit(limit) {
				t.Errorf("%d bytes at level %d become %d, over the limit of %d", limit, level, n, DeflatedLimit(limit))
			}
		}
	}
}

func TestAcceptDeflate(t *testing.T) {
	const invalid, declined, accepted, window = "invalid", "declined", DeflateResponse, deflateResponseWindow
	for _, c := range []struct{ header, want string }{
		{"permessage-deflate", accepted},
		{"permessage-deflate; client_max_window_bits", accepted},
		{"permessage-deflate;client_max_window_bits=8", accepted},
		{"permessage-deflate; client_max_window_bits=15", accepted},
		{`permessage-deflate; client_max_window_bits="10"`, accepted},
		{`permessage-deflate; client_max_window_bits="1\0"`, accepted},
		{"permessage-deflate ; client_max_window_bits = 9", accepted},
		{"permessage-deflate; server_no_context_takeover; client_no_context_takeover", accepted},
		{"x-webkit-deflate-frame, permessage-deflate", accepted},
		{`foo; bar="baz"; qux, , permessage-deflate,`, accepted},
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate", accepted},
		{"permessage-deflate; server_max_window_bits=15", window},
		{`permessage-deflate; server_max_window_bits="15"; server_no_context_takeover; client_max_window_bits=9`, window},
		{"permessage-deflate; server_max_window_bits=9, permessage-deflate; server_max_window_bits=15", window},
		{"permessage-deflate, permessage-deflate; server_max_window_bits=15", accepted},
		{"permessage-deflate; server_max_window_bits=15, permessage-deflate", window},
		{"permessage-deflate; unknown, permessage-deflate; client_max_window_bits", accepted},
		{"permessage-deflate, permessage-deflate; unknown", accepted},

		{"x-webkit-deflate-frame", declined},
		{"Permessage-Deflate", declined},
		{"permessage-bzip2; client_max_window_bits", declined},
		{"permessage-deflate; unknown", declined},
		{"permessage-deflate; server_max_window_bits=10", declined},
		{"permessage-deflate; server_max_window_bits=16", declined},
		{"permessage-deflate; server_max_window_bits=015", declined},
		{"permessage-deflate; server_max_window_bits=15; server_max_window_bits=15", declined},
		{"permessage-deflate; server_max_window_bits", declined},
		{"permessage-deflate; client_max_window_bits=7", declined},
		{"permessage-deflate; client_max_window_bits=16", declined},
		{"permessage-deflate; client_max_window_bits=08", declined},
		{"permessage-deflate; client_max_window_bits=150", declined},
		{`permessage-deflate; client_max_window_bits="150"`, declined},
		{"permessage-deflate; client_max_window_bits=+8", declined},
		{"permessage-deflate; client_max_window_bits=x", declined},
		{"permessage-deflate; client_no_context_takeover=1", declined},
		{"permessage-deflate; server_no_context_takeover=true", declined},
		{"permessage-deflate; client_max_window_bits; client_max_window_bits", declined},
		{"permessage-deflate; server_no_context_takeover; server_no_context_takeover", declined},

		{"", invalid},
		{",", invalid},
		{"permessage-deflate;", invalid},
		{"permessage-deflate; =10", invalid},
		{"permessage-deflate; client_max_window_bits=", invalid},
		{`permessage-deflate; client_max_window_bits=""`, invalid},
		{`permessage-deflate; client_max_window_bits="10`, invalid},
		{`permessage-deflate; client_max_window_bits="1 0"`, invalid},
		{`permessage-deflate; client_max_window_bits="10\`, invalid},
		{"permessage-deflate client_max_window_bits", invalid},
		{"permessage-deflate, (", invalid},
		{"permessage-deflate, foo; bar=baz qux", invalid},
		{"perméssage-deflate", invalid},
	} {
		response, valid := AcceptDeflate([]byte(c.header))
		got := declined
		if !valid {
			got = invalid
		} else if response != "" {
			got = response
		}
		if got != c.want || !valid && response != "" {
			t.Errorf("%q is %s, want %s", c.header, got, c.want)
		}
	}
}

// TestInflateForgets: a message that refers to what it has no code for is not
// read by the code of the message before.
func TestInflateForgets(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for range 20 { // which inflater is taken is the pool's affair
		if _, err := Inflate(nil, ws.OpBinary, deflated(t, 9, repetitions(rnd, 500)), 1<<20); err != nil {
			t.Fatal(err)
		}
		got, err := Inflate(nil, ws.OpBinary, []byte(noDistances), 1<<20)
		if !errors.Is(err, ErrInflate) || len(got) != 4 {
			t.Fatalf("%d bytes, %v, want 4 and %v", len(got), err, ErrInflate)
		}
	}
}

// noDistances is a block that has no code for distances, and lengths all the same.
const noDistances = "\xec\xc21\r\x00\x00\f\x020\xadc\xfe= \x82\xb7I\xee."

// repetitions is a message that has codes for all the shortest distances.
func repetitions(rnd *rand.Rand, n int) (message []byte) {
	for len(message) < n {
		message = append(message, byte(rnd.Intn(60)), byte(rnd.Intn(60)))
		for distance, length := 1+rnd.Intn(4), 3+rnd.Intn(12); length > 0 && len(message) > 4; length-- {
			message = append(message, message[len(message)-distance])
		}
	}
	return message
}

// FuzzInflate: whatever comes inflates to no more than the limit, to what a fresh
// reader makes of it, and if it does not, spoils nothing.
func FuzzInflate(f *testing.F) {
	f.Add([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"))
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"))
	f.Add([]byte("\x00"))
	f.Add([]byte(noDistances))
	f.Add(deflated(f, 6, bytes.Repeat([]byte("abc"), 2000)))
	f.Add(deflated(f, 0, []byte("stored")))
	f.Fuzz(func(t *testing.T, payload []byte) {
		const limit = 4096
		before := bytes.Clone(payload)
		got, err := Inflate(nil, ws.OpBinary, payload, limit)
		if !bytes.Equal(payload, before) {
			t.Error("the payload was written to")
		}
		if err == nil && len(got) > limit || len(got) > limit+1 {
			t.Errorf("%d bytes over a limit of %d", len(got), limit)
		}
		if err != nil && !errors.Is(err, ErrInflate) && !errors.Is(err, ErrInflatedSize) {
			t.Errorf("error %v", err)
		}
		// A fresh reader ends at the first last block.
		want, failure := inflated(payload)
		switch {
		case len(payload) == 0:
		case err == nil && (failure != nil || !bytes.HasPrefix(got, want)):
			t.Errorf("got %.80q, a fresh reader %.80q, %v", got, want, failure)
		case errors.Is(err, ErrInflatedSize) && len(want) <= limit && failure != nil:
			t.Errorf("too big, a fresh reader has %d bytes, %v", len(want), failure)
		case errors.Is(err, ErrInflate) && !bytes.HasPrefix(got, want):
			t.Errorf("got %.80q and an error, a fresh reader %.80q", got, want)
		}
		// What we send comes back.
		frame, _ := NewFrame(ws.OpBinary, payload).Deflate()
		if back, err := Inflate(nil, ws.OpBinary, frame.Payload(), len(payload)); frame.Deflated() && (err != nil || !bytes.Equal(back, payload)) {
			t.Errorf("%d bytes come back as %d, %v", len(payload), len(back), err)
		}
	})
}

func FuzzAcceptDeflate(f *testing.F) {
	f.Add([]byte(`foo; bar="b\z", permessage-deflate; client_max_window_bits="10"`))
	f.Fuzz(func(t *testing.T, header []byte) {
		accepted, valid := AcceptDeflate(header)
		if accepted != "" && !(valid && bytes.Contains(header, []byte("permessage-deflate"))) {
			t.Errorf("%q is accepted", header)
		}
		// A header may be cut at a comma, unless that stands in quotes.
		if valid && !bytes.ContainsRune(header, '"') {
			again := ""
			for part := range bytes.SplitSeq(header, []byte{','}) {
				if a, _ := AcceptDeflate(part); again == "" {
					again = a
				}
			}
			if again != accepted {
				t.Errorf("%q: accepted with %q, in parts with %q", header, accepted, again)
			}
		}
	})
}

// benchmarkMessage is a list of small objects in JSON, of about n bytes.
func benchmarkMessage(n int) []byte {
	r := rand.New(rand.NewSource(1))
	b := []byte(`{"push":{"channel":"market:eurusd","pub":{"data":{"list":[`)
	for len(b) < n-60 {
		b = fmt.Appendf(b, `{"id":%d,"name":"item %x","price":%.2f,"up":%t},`, r.Intn(100_000), r.Intn(1<<24), r.Float64()*100, r.Intn(2) == 0)
	}
	return append(b, `{}]}}}}`...)
}

func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{200, 1000, 4000, 64_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			plain := NewFrame(ws.OpText, benchmarkMessage(size))
			var frame Frame
			b.ReportAllocs()
			for b.Loop() {
				frame, _ = plain.Deflate()
			}
			b.ReportMetric(float64(len(frame))/float64(len(plain)), "ratio")
		})
	}
}

func BenchmarkInflate(b *testing.B) {
	for name, message := range map[string][]byte{
		"command": []byte(`{"id":2,"subscribe":{"channel":"market:eurusd"}}`), "1000": benchmarkMessage(1000),
		"64000": benchmarkMessage(64_000), "bomb": make([]byte, 64<<10),
	} {
		b.Run(name, func(b *testing.B) {
			payload := deflated(b, 6, message)
			var got []byte
			b.ReportAllocs()
			b.SetBytes(int64(len(message)))
			for b.Loop() {
				var err error
				if got, err = Inflate(got[:0], ws.OpText, payload, 64<<10); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

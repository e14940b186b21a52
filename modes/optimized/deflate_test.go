//go:build linux

package optimized

import (
	"bytes"
	"compress/flate"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// deflated is message as a client compresses it.
func deflated(tb testing.TB, message string) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 6)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write([]byte(message)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\x00\x00\xff\xff"))
}

// TestFlagIsFree: the record has room for what a connection has negotiated.
func TestFlagIsFree(t *testing.T) {
	if size := unsafe.Sizeof(record{}); size > 64 {
		t.Errorf("a record has %d bytes, over 64", size)
	}
}

// TestParserAndRSV1: what the first bit means, wherever the bytes are cut.
func TestParserAndRSV1(t *testing.T) {
	join := slices.Concat[[]byte]
	const protocol = "violation 1002"
	got := func(op ws.OpCode, compressed bool, payload string) string {
		return fmt.Sprintf("%d %t %q", op, compressed, payload)
	}
	limit := 100
	most := strings.Repeat("x", wire.DeflatedLimit(limit))
	for name, c := range map[string]struct {
		bytes []byte
		want  []string
	}{
		"compressed":                   {clientFrame(0xc1, []byte("\xff")), []string{got(1, true, "\xff")}},
		"no byte":                      {clientFrame(0xc2, nil), []string{got(2, true, "")}},
		"plain":                        {clientFrame(0x81, []byte("a")), []string{got(1, false, "a")}},
		"plain after compressed":       {join(clientFrame(0xc1, []byte("a")), clientFrame(0x81, []byte("b"))), []string{got(1, true, "a"), got(1, false, "b")}},
		"plain is checked":             {join(clientFrame(0xc1, []byte("a")), clientFrame(0x81, []byte("\xff"))), []string{got(1, true, "a"), "violation 1007"}},
		"fragments and a ping":         {join(clientFrame(0x41, []byte("\xff")), clientFrame(0x89, nil), clientFrame(0x80, []byte("b"))), []string{got(9, false, ""), got(1, true, "\xffb")}},
		"on a continuation":            {join(clientFrame(0x41, nil), clientFrame(0xc0, nil)), []string{protocol}},
		"on a continuation of a plain": {join(clientFrame(0x01, nil), clientFrame(0xc0, nil)), []string{protocol}},
		"on a ping":                    {clientFrame(0xc9, nil), []string{protocol}},
		"on a close":                   {clientFrame(0xc8, nil), []string{protocol}},
		"rsv1 and rsv2":                {clientFrame(0xe1, nil), []string{protocol}},
		"rsv3":                         {clientFrame(0x91, nil), []string{protocol}},
		"the most":                     {clientFrame(0xc2, []byte(most)), []string{got(2, true, most)}},
		"too much":                     {clientFrame(0xc2, []byte(most+"x")), []string{"violation 1009"}},
		"too much, in pieces":          {join(clientFrame(0x42, []byte(most)), clientFrame(0x80, []byte("x"))), []string{"violation 1009"}},
		"too much of plain":            {join(clientFrame(0xc2, []byte(most)), clientFrame(0x82, []byte(most))), []string{got(2, true, most), "violation 1009"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{len(c.bytes), 1, 3} {
				p := &parser{limit: limit, deflate: true}
				var all []string
				ended := false
				for piece := range slices.Chunk(bytes.Clone(c.bytes), step) {
					for !ended {
						var f found
						if f, piece = p.next(piece); f.event == nothing {
							break
						}
						if ended = f.event == violation; ended {
							all = append(all, fmt.Sprintf("violation %d", f.end.Code))
							break
						}
						all = append(all, got(f.op, f.event == message && f.compressed, string(f.payload)))
					}
				}
				if !slices.Equal(all, c.want) {
					t.Errorf("%d bytes at a time: got %.200q, want %.200q", step, all, c.want)
				}
			}
		})
	}
}

// TestFanOutByForm: the fan-out joins what each form gets, and none gets
// another's.
func TestFanOutByForm(t *testing.T) {
	l := testLoop(t)
	a := l.testAudience("news")
	_, plain := l.testConnection(t, wire.JSON, a)
	_, small := l.testDeflateConnection(t, wire.JSON, a)
	_, raw := l.testDeflateConnection(t, wire.Raw, a)
	var want [3][]byte
	for i := range 5 {
		data := []byte(fmt.Sprint(i, strings.Repeat(" again", 10+30*(i%2))))
		l.engine.Deliver(modes.Publication{Channel: []byte("news"), Data: data})
		frame, _ := wire.PushFrame(wire.JSON, "news", data)
		want[0] = append(want[0], frame...)
		frame, _ = frame.Deflate()
		want[1] = append(want[1], frame...)
		frame, _ = wire.PushFrame(wire.Raw, "news", data)
		frame, _ = frame.Deflate()
		want[2] = append(want[2], frame...)
	}
	l.empty()
	for i, client := range []*os.File{plain, small, raw} {
		got := make([]byte, len(want[0])+1)
		// One read gets them all: they left in one write.
		if n, err := client.Read(got); err != nil || !bytes.Equal(got[:n], want[i]) {
			t.Errorf("client %d read %q, %v; want %q", i, got[:n], err, want[i])
		}
	}
	if len(want[1]) >= len(want[0]) {
		t.Error("nothing was compressed")
	}
}

// TestDropCountsByForm: who leaves is not wanted for any more.
func TestDropCountsByForm(t *testing.T) {
	l := testLoop(t)
	a := l.testAudience("news")
	l.testConnection(t, wire.JSON, a)
	r, _ := l.testDeflateConnection(t, wire.JSON, a)
	wants := func() (int32, int32) {
		return a.wants[wire.JSON.Form(false)].Load(), a.wants[wire.JSON.Form(true)].Load()
	}
	if plain, deflated := wants(); plain != 1 || deflated != 1 {
		t.Errorf("wants are %d and %d, want 1 and 1", plain, deflated)
	}
	l.leaveAll(r)
	l.empty()
	if plain, deflated := wants(); plain != 1 || deflated != 0 {
		t.Errorf("wants are %d and %d, want 1 and 0", plain, deflated)
	}
}

// testDeflateConnection is testConnection for one that has negotiated
// permessage-deflate.
func (l *loop) testDeflateConnection(tb testing.TB, p wire.Protocol, a *audience) (*record, *os.File) {
	tb.Helper()
	r, client := l.testConnection(tb, p, a)
	a.wants[r.form()].Add(-1)
	r.deflate = true
	a.wants[r.form()].Add(1)
	return r, client
}

// BenchmarkDeflatedFanOut is one publication of 1,000 bytes to 500 connections, from the
// bus to the last write: plain, compressed once for all, and, as a server does
// that compresses in the connection, once for each. bytes/delivery is what
// leaves the machine.
func BenchmarkDeflatedFanOut(b *testing.B) {
	const receivers = 500
	data := benchmarkMessage(1000)
	for _, name := range []string{"plain", "shared", "each"} {
		b.Run(name, func(b *testing.B) {
			l := testLoop(b)
			a := l.testAudience("news")
			clients := make([]int, receivers)
			for i := range clients {
				var file *os.File
				if name == "shared" {
					_, file = l.testDeflateConnection(b, wire.Raw, a)
				} else {
					_, file = l.testConnection(b, wire.Raw, a)
				}
				clients[i] = int(file.Fd())
			}
			room := make([]byte, 64<<10)
			before := l.engine.Stats.BytesOut.Load()
			bytes := 0
			b.ReportAllocs()
			for b.Loop() {
				if name == "each" {
					frame, _ := wire.PushFrame(wire.Raw, "news", data)
					for i := range a.members {
						small, _ := frame.Deflate()
						index := a.members[i].record
						l.write(index, l.slab.at(index), small, true)
						bytes += len(small)
					}
				} else {
					l.engine.Deliver(modes.Publication{Channel: []byte("news"), Data: data})
					l.empty()
				}
				b.StopTimer()
				for _, fd := range clients {
					if n, err := unix.Read(fd, room); err != nil || n == 0 {
						b.Fatalf("read %d, %v", n, err)
					}
				}
				b.StartTimer()
			}
			bytes += int(l.engine.Stats.BytesOut.Load() - before)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/receivers, "ns/delivery")
			b.ReportMetric(float64(bytes)/float64(b.N)/receivers, "bytes/delivery")
		})
	}
}

// benchmarkMessage is a list of small objects in JSON, of about n bytes.
func benchmarkMessage(n int) []byte {
	b := []byte(`{"list":[`)
	for i := 0; len(b) < n-60; i++ {
		b = fmt.Appendf(b, `{"id":%d,"name":"item %x","price":%d.%02d,"up":%t},`, i*7919%100_000, i*104729, i*31%90, i*17%100, i%3 == 0)
	}
	return append(b, `{}]}`...)
}

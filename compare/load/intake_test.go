package load

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tandem-ws/tandem/compare/workload"
)

const testNow = 1764000001000000000

const upgradeAnswer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
	"Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// serverFrame is an unmasked frame; fin and opcode as in the first byte.
func serverFrame(first byte, b string) string {
	var head []byte
	switch n := len(b); {
	case n < 126:
		head = []byte{first, byte(n)}
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(n))
	default:
		head = binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(n))
	}
	return string(head) + b
}

func text(b string) string { return serverFrame(finBit|opText, b) }

func closeFrame(code int) string {
	return serverFrame(finBit|opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code))))
}

func body(sequence, channel uint32, size int) string {
	return string(workload.AppendMessage(nil, workload.Message{Sequence: sequence, Channel: channel, Time: testNow - 1e9}, size))
}

func push(channel, data string) string {
	return `{"push":{"channel":"` + channel + `","pub":{"data":` + data + `}}}`
}

// outcome is all that taking in a stream can change.
type outcome struct {
	count     Counters
	record    record
	replies   string
	verdict   verdict
	cause     int
	detail    string
	joinedNow int
	latencies int64
}

// take feeds the pieces to a fresh intake of the given protocol.
func take(t testing.TB, p protocol, channel uint32, pieces ...[]byte) outcome {
	t.Helper()
	in := &intake{
		heads:   map[uint32][]byte{},
		latency: hdrhistogram.New(lowestLatency, highestLatency, 1), // small: the fuzzer makes many
		connect: hdrhistogram.New(lowestLatency, highestLatency, 1),
	}
	in.groups = []group{{protocol: p, each: true, before: "bench-"}}
	r := &record{state: upgrading, channel: channel, started: testNow - 5e8}
	var o outcome
	for _, b := range pieces {
		if o.verdict = in.feed(r, b, testNow); o.verdict == finished {
			o.cause, o.detail = in.cause, in.detail
			break
		}
		o.verdict = carryOn
	}
	o.count, o.replies, o.joinedNow, o.latencies = in.count, string(in.reply), in.joinedNow, in.latency.TotalCount()
	in.forget(r)
	free := len(in.slots.chunks) * 64
	if len(in.slots.free) != free || len(in.heads) != 0 {
		t.Errorf("%d of %d slots free, %d heads kept after the end", len(in.slots.free), free, len(in.heads))
	}
	r.window &= 1<<32 - 1
	o.record = *r
	if o.verdict == finished { // what it left of its frame does not matter
		o.record.remain = 0
		o.record.flags &^= lastFrame | fragmented
	}
	return o
}

var streams = []struct {
	name     string
	protocol protocol
	stream   string
	want     Counters
	replies  int // bytes
	cause    int
	detail   string
}{
	{
		name: "raw", protocol: protoRaw,
		stream: upgradeAnswer + text(body(1, 3, 128)) + text(body(2, 3, 60)) + text(body(3, 3, 70000)) + text(body(4, 3, 125)),
		want:   Counters{Delivered: 4},
	},
	{
		name: "floor", protocol: protoFloor,
		stream: upgradeAnswer + text(`{"op":"subscribed","channel":"bench"}  `) + text(body(1, 3, 128)) + text(body(2, 3, 128)),
		want:   Counters{Delivered: 2},
	},
	{
		name: "centrifuge", protocol: protoCentrifuge,
		stream: upgradeAnswer + text(`{"id":1,"connect":{"client":"x","version":"v","ping":25,"pong":true}}`+"\n"+`{"id":2,"subscribe":{}}`) +
			text(push("bench-3", body(1, 3, 128))) + text("{}") + text(push("bench-3", body(2, 3, 600))) +
			text(push("bench-3", body(3, 3, 128))+"\n"+push("bench-3", body(4, 3, 128))+"\n{}\n") +
			text(`{"id":7,"publish":{}}`) + text(`{"id":8,"error":{"code":103,"message":"permission denied"}}`),
		want:    Counters{Delivered: 4, Pings: 2, Acknowledged: 1, Refused: 1},
		replies: 2 * 8,
	},
	{
		name: "refused subscription", protocol: protoCentrifuge,
		stream: upgradeAnswer + text(`{"id":1,"connect":{}}`+"\n"+`{"id":2,"error":{"code":106,"message":"limit exceeded"}}`),
		cause:  causeRefused, detail: "error 106",
	},
	{
		name: "refused connect", protocol: protoCentrifuge,
		stream: upgradeAnswer + text(`{"id":1,"error":{"code":101,"message":"unauthorized"}}`),
		cause:  causeRefused, detail: "connect error 101",
	},
	{
		name: "resubscribe", protocol: protoCentrifuge,
		stream: upgradeAnswer + text(`{"id":2,"subscribe":{}}`) + text(push("bench-3", body(1, 3, 128))) +
			text(`{"push":{"channel":"bench-3","unsubscribe":{"code":2500,"reason":"insufficient state"}}}`) +
			text(`{"id":2,"subscribe":{}}`) + text(push("bench-3", body(4, 3, 128))),
		want:    Counters{Delivered: 2, Lost: 2, Resubscribed: 1},
		replies: 6 + len(`{"id":2,"subscribe":{"channel":"bench-3"}}`),
	},
	{
		name: "early", protocol: protoCentrifuge,
		stream: upgradeAnswer + text(push("bench-3", body(1, 3, 128))) + text(`{"id":2,"subscribe":{}}`),
		want:   Counters{Delivered: 1, Early: 1},
	},
	{
		name: "control frames between fragments", protocol: protoRaw,
		stream: upgradeAnswer + serverFrame(opText, body(1, 3, 200)[:30]) + serverFrame(finBit|opPing, "are you there") +
			serverFrame(opContinuation, body(1, 3, 200)[30:50]) + serverFrame(finBit|opPong, "") +
			serverFrame(opContinuation, "") + serverFrame(finBit|opContinuation, body(1, 3, 200)[50:]) +
			serverFrame(finBit|opPing, "") + serverFrame(finBit|opBinary, body(2, 3, 64)),
		want:    Counters{Delivered: 2, Pings: 2},
		replies: 6 + 13 + 6,
	},
	{
		name: "lost, duplicated, reordered, misrouted, unknown", protocol: protoRaw,
		stream: upgradeAnswer + text(body(5, 3, 64)) + text(body(6, 3, 64)) + text(body(9, 3, 64)) + text(body(8, 3, 64)) +
			text(body(8, 3, 64)) + text(body(9, 3, 64)) + text(body(10, 4, 64)) + text("hello") + text("") + text(body(10, 3, 64)),
		want: Counters{Delivered: 8, Lost: 1, Reordered: 1, Duplicated: 2, Misrouted: 1, Unknown: 2},
	},
	{
		name: "payload elsewhere", protocol: protoCentrifuge,
		stream: upgradeAnswer + text(`{"id":2,"subscribe":{}}`) + text(push("bench-3", body(1, 3, 64))) +
			text(`{"push": {"channel":"bench-3","pub":{"data":`+body(2, 3, 64)+`}}}`) +
			text(`{"push":{"channel":"bench-3","pub":{"offset":12,"data":`+body(3, 3, 64)+`}}}`),
		want: Counters{Delivered: 3},
	},
	{name: "close code", protocol: protoRaw, stream: upgradeAnswer + text(body(1, 3, 64)) + closeFrame(3008), want: Counters{Delivered: 1}, cause: 3008},
	{name: "close without code", protocol: protoRaw, stream: upgradeAnswer + serverFrame(finBit|opClose, ""), cause: causeNoStatus},
	{name: "status", protocol: protoRaw, stream: "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", cause: causeRefused, detail: "status 503"},
	{name: "no HTTP", protocol: protoRaw, stream: "220 mail ready\r\n\r\n", cause: causeRefused, detail: "no HTTP response"},
	{name: "wrong accept", protocol: protoRaw, stream: strings.Replace(upgradeAnswer, "s3pP", "S3pP", 1), cause: causeRefused, detail: "wrong Sec-WebSocket-Accept"},
	{name: "endless head", protocol: protoRaw, stream: "HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", 9000), cause: causeRefused, detail: "response head longer than 8 KB"},
	{name: "masked", protocol: protoRaw, stream: upgradeAnswer + "\x81\x81aaaab", cause: causeViolation, detail: "masked frame from server"},
	{name: "reserved bits", protocol: protoRaw, stream: upgradeAnswer + "\xc1\x01a", cause: causeViolation, detail: "reserved bits set"},
	{name: "reserved opcode", protocol: protoRaw, stream: upgradeAnswer + "\x83\x01a", cause: causeViolation, detail: "reserved opcode"},
	{name: "reserved control opcode", protocol: protoRaw, stream: upgradeAnswer + "\x8b\x00", cause: causeViolation, detail: "reserved opcode"},
	{name: "fragmented ping", protocol: protoRaw, stream: upgradeAnswer + "\x09\x00", cause: causeViolation, detail: "fragmented or long control frame"},
	{name: "long ping", protocol: protoRaw, stream: upgradeAnswer + "\x89\x7e" + strings.Repeat("a", 126), cause: causeViolation, detail: "fragmented or long control frame"},
	{name: "continuation of nothing", protocol: protoRaw, stream: upgradeAnswer + "\x80\x01a", cause: causeViolation, detail: "continuation out of place"},
	{name: "text in a fragmented message", protocol: protoRaw, stream: upgradeAnswer + "\x01\x01a\x81\x01a", cause: causeViolation, detail: "continuation out of place"},
	{name: "length 2^63", protocol: protoRaw, stream: upgradeAnswer + "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", cause: causeViolation, detail: "length above 2^63-1"},
}

func TestStreams(t *testing.T) {
	for _, s := range streams {
		t.Run(s.name, func(t *testing.T) {
			got := take(t, s.protocol, 3, []byte(s.stream))
			if got.count != s.want {
				t.Errorf("counted %+v\n    want %+v", got.count, s.want)
			}
			if len(got.replies) != s.replies {
				t.Errorf("replied %d bytes, want %d: %q", len(got.replies), s.replies, got.replies)
			}
			if got.cause != s.cause || got.detail != s.detail {
				t.Errorf("ended by %d %q, want %d %q", got.cause, got.detail, s.cause, s.detail)
			}
			if got.latencies != s.want.Delivered {
				t.Errorf("%d latencies, want one for each of %d messages", got.latencies, s.want.Delivered)
			}
		})
	}
}

func TestSplitAnywhere(t *testing.T) {
	for _, s := range streams {
		t.Run(s.name, func(t *testing.T) {
			whole := take(t, s.protocol, 3, []byte(s.stream))
			step := max(1, len(s.stream)/3000)
			for i := 1; i < len(s.stream); i += step {
				if got := take(t, s.protocol, 3, []byte(s.stream[:i]), []byte(s.stream[i:])); got != whole {
					t.Fatalf("split at %d: %+v\nwhole: %+v", i, got, whole)
				}
			}
			var each [][]byte
			for i := range len(s.stream) {
				each = append(each, []byte(s.stream[i:i+1]))
			}
			if got := take(t, s.protocol, 3, each...); got != whole {
				t.Fatalf("byte by byte: %+v\nwhole: %+v", got, whole)
			}
		})
	}
}

func FuzzFrames(f *testing.F) {
	for _, s := range streams {
		f.Add(uint8(s.protocol), []byte(strings.TrimPrefix(s.stream, upgradeAnswer)), []byte{1, 7, 0, 40})
	}
	f.Fuzz(func(t *testing.T, p uint8, stream, cuts []byte) {
		stream = append([]byte(upgradeAnswer), stream...)
		whole := take(t, protocol(p%3), 3, stream)
		var pieces [][]byte
		rest := stream
		for i := 0; len(rest) > 0; i++ {
			n := len(rest)
			if len(cuts) > 0 {
				n = min(n, 1+int(cuts[i%len(cuts)]))
			}
			// each piece in memory of its own: what follows it must not be seen
			pieces = append(pieces, append([]byte(nil), rest[:n]...))
			rest = rest[n:]
		}
		if got := take(t, protocol(p%3), 3, pieces...); got != whole {
			t.Fatalf("in %d pieces: %+v\nwhole: %+v", len(pieces), got, whole)
		}
	})
}

// open returns an intake with one subscribed connection.
func openRecord(p protocol) (*intake, *record) {
	in := newIntake()
	in.groups = []group{{protocol: p}}
	return in, &record{state: joined}
}

func TestSequence(t *testing.T) {
	tests := []struct {
		name string
		next uint32 // mark, 0 none
		seen []uint32
		last uint32 // write off up to here, 0 not
		late []uint32
		want Counters
	}{
		{name: "in order", seen: []uint32{1, 2, 3}},
		{name: "begins anywhere", seen: []uint32{77, 78}},
		{name: "beginning lost", next: 1, seen: []uint32{3, 4}, want: Counters{Lost: 2}},
		{name: "gap", seen: []uint32{1, 5}, want: Counters{Lost: 3}},
		{name: "gap filled", seen: []uint32{1, 5, 3, 2, 4}, want: Counters{Reordered: 3}},
		{name: "swapped", next: 1, seen: []uint32{2, 1, 3}, want: Counters{Reordered: 1}},
		{name: "twice", seen: []uint32{1, 2, 2, 1, 3, 2}, want: Counters{Duplicated: 3}},
		{name: "gap of 64 filled at its ends", next: 1, seen: []uint32{1, 65, 64, 2, 1}, want: Counters{Lost: 61, Reordered: 2, Duplicated: 1}},
		{name: "older than the window", next: 1, seen: []uint32{1, 100, 2}, want: Counters{Lost: 98, Reordered: 1}},
		{name: "end lost", next: 1, seen: []uint32{1, 2}, last: 5, want: Counters{Lost: 3}},
		{name: "all lost", next: 1, last: 5, want: Counters{Lost: 5}},
		{name: "written off, comes after all", next: 1, seen: []uint32{1, 2}, last: 4, late: []uint32{3, 4, 5}, want: Counters{Reordered: 2}},
		{name: "written off, goes on", next: 1, seen: []uint32{1, 2}, last: 4, late: []uint32{5, 4, 4, 2}, want: Counters{Lost: 1, Reordered: 1, Duplicated: 2}},
		{name: "nothing to write off", seen: []uint32{1, 2}, last: 2},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			in, r := openRecord(protoRaw)
			if c.next != 0 {
				r.expect(c.next)
			}
			for _, s := range c.seen {
				in.sequence(r, s)
			}
			if c.last != 0 {
				in.writeOff(r, c.last)
			}
			for _, s := range c.late {
				in.sequence(r, s)
			}
			if in.count != c.want {
				t.Errorf("counted %+v\n    want %+v", in.count, c.want)
			}
		})
	}
}

// burst is n coalesced frames of one subscribed connection.
func burst(p protocol, n int) []byte {
	var b strings.Builder
	for i := range n {
		data := body(uint32(i+1), 0, 128)
		if p == protoCentrifuge {
			data = push("bench", data)
		}
		b.WriteString(text(data))
	}
	return []byte(b.String())
}

func TestMessagesAllocateNothing(t *testing.T) {
	for _, p := range []protocol{protoCentrifuge, protoRaw, protoFloor} {
		in, r := openRecord(p)
		b := burst(p, 1000)
		half := len(b)/2 + 50
		in.feed(r, b, testNow)
		if n := testing.AllocsPerRun(20, func() {
			r.expect(1)
			in.feed(r, b[:half], testNow)
			in.feed(r, b[half:], testNow)
		}); n != 0 {
			t.Errorf("protocol %d: %v allocations for 1,000 messages, want 0", p, n)
		}
		if !in.count.Clean() || in.count.Unknown != 0 {
			t.Errorf("protocol %d: %+v", p, in.count)
		}
	}
}

func BenchmarkIntake(b *testing.B) {
	for p, name := range map[protocol]string{protoCentrifuge: Centrifuge, protoRaw: Raw} {
		b.Run(name, func(b *testing.B) {
			in, r := openRecord(p)
			stream := burst(p, 1000)
			b.ReportAllocs()
			for b.Loop() {
				r.expect(1)
				in.feed(r, stream, testNow)
			}
			if !in.count.Clean() {
				b.Fatal(fmt.Sprint(in.count))
			}
			b.ReportMetric(float64(in.count.Delivered)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

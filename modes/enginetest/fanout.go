package enginetest

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var fanoutCases = []suiteCase{
	{"fanout/to many", testFanoutMany},
	{"fanout/order", testFanoutOrder},
	{"fanout/many channels at once", testFanoutConcurrent},
	{"fanout/payloads", testPayloads},
	{"fanout/all protocols", testFanoutProtocols},
	{"fanout/bursts", testFanoutBursts},
	{"fanout/counted", testFanoutCounted},
}

func testFanoutMany(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const many, messages = 200, 50
	clients := make([]*kit.Client, many)
	kit.Together(t, many, func(t kit.Tester, i int) { clients[i] = n.Session(t, "news") })
	for i := range messages {
		n.Bus.Send("news", fmt.Sprintf(`{"number":%d}`, i))
	}
	kit.Together(t, many, func(t kit.Tester, i int) {
		clients[i].T = t
		for j := range messages {
			clients[i].ExpectPush("news", fmt.Sprintf(`{"number":%d}`, j))
		}
	})
}

// window is how far a publisher may be ahead of the slowest client: far below
// every queue's bound, because a client that reads must not be taken for slow.
const window = 100

// pace returns once each of the progresses is past number-window.
func pace(t kit.Tester, progress []atomic.Int64, number int64) {
	t.Helper()
	for i := range progress {
		if progress[i].Load() > number-window {
			continue
		}
		kit.Await(t, "a client to read on", func() (bool, string) {
			got := progress[i].Load()
			return got > number-window, fmt.Sprintf("client %d at %d of %d", i, got, number)
		})
	}
}

// Thousands of messages on several channels: each channel's come in order, and
// none is missing or doubled.
func testFanoutOrder(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const clients, messages = 8, 3000
	channels := []string{"a", "b", "c"}
	var progress [clients]atomic.Int64
	readers := make([]*kit.Client, clients)
	for i := range readers {
		readers[i] = n.Session(t, channels...)
	}
	wait := kit.Background(t, clients, func(t kit.Tester, i int) {
		c := readers[i]
		c.T = t
		next := map[string]int64{}
		for range messages * len(channels) {
			r := c.Next()
			channel := r.GetPush().GetChannel()
			if got := c.Number(r, channel); got != next[channel] {
				t.Fatalf("channel %q: got %d, want %d", channel, got, next[channel])
			}
			next[channel]++
			progress[i].Add(1)
		}
	})
	for i := range messages {
		for j, channel := range channels {
			n.Bus.Send(channel, strconv.Itoa(i))
			pace(t, progress[:], int64(i*len(channels)+j))
		}
	}
	wait()
}

// The bus delivers different channels from different goroutines.
func testFanoutConcurrent(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const channels, clients, messages = 32, 8, 60
	names := make([]string, channels)
	for i := range names {
		names[i] = fmt.Sprintf("channel %d", i)
	}
	var progress [clients]atomic.Int64
	readers := make([]*kit.Client, clients)
	for i := range readers {
		// Every second client has half of the channels.
		readers[i] = n.Session(t, names[:channels/(1+i%2)]...)
	}
	readers[0].Unsubscribe(names[0])
	readers[0].Subscribe(names[0])
	wait := kit.Background(t, clients, func(t kit.Tester, i int) {
		c := readers[i]
		c.T = t
		next := map[string]int64{}
		for range messages * (channels / (1 + i%2)) {
			r := c.Next()
			channel := r.GetPush().GetChannel()
			if got := c.Number(r, channel); got != next[channel] {
				t.Fatalf("channel %q: got %d, want %d", channel, got, next[channel])
			}
			next[channel]++
			// A client with half of the channels counts twice.
			progress[i].Add(int64(1 + i%2))
		}
	})
	for i := range messages {
		for j, name := range names {
			n.Bus.Send(name, strconv.Itoa(i))
			pace(t, progress[:], int64(i*channels+j))
		}
	}
	wait()
}

// payloads are what back ends publish, what it becomes in JSON, and the opcode
// on a raw connection.
var payloads = []struct{ name, data, json string }{
	{"object", `{"hello":"world"}`, `{"hello":"world"}`},
	{"spaces kept", `{ "a" : [ 1 , 2 ] }`, `{ "a" : [ 1 , 2 ] }`},
	{"line feeds", "{\n\t\"a\": 1\r\n}", `{"a":1}`},
	{"number", `1.50`, `1.50`},
	{"null", `null`, `null`},
	{"string", `"text"`, `"text"`},
	{"text", `hello`, `"hello"`},
	{"quotes", `say "hi" \ now`, `"say \"hi\" \\ now"`},
	{"empty", ``, `""`},
	{"two values", `{} {}`, `"{} {}"`},
	{"runes", `κόσμε`, `"κόσμε"`},
	{"lines of text", "a\nb", `"a\nb"`},
	{"no UTF-8", "a\xffb", "\"a\ufffdb\""},
	{"no UTF-8 in JSON", "\"a\xffb\"", "\"a\ufffdb\""},
	{"126", `"` + strings.Repeat("x", 126) + `"`, `"` + strings.Repeat("x", 126) + `"`},
	{"65,536", `"` + strings.Repeat("x", 65536) + `"`, `"` + strings.Repeat("x", 65536) + `"`},
	{"200,000", strings.Repeat("y", 200_000), `"` + strings.Repeat("y", 200_000) + `"`},
}

func testPayloads(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Session(t, "news")
	raw := n.Open(t, modes.PathRaw+"?channel=news")
	protobuf := n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
	protobuf.Connect("news")
	for _, test := range payloads {
		n.Bus.Send("news", test.data)
		c.ExpectPush("news", test.json)
		if strings.HasPrefix(test.name, "no UTF-8") {
			raw.Expect(kit.BinaryFrame(test.data))
		} else {
			raw.Expect(kit.Text(test.data))
		}
		protobuf.ExpectPush("news", test.data)
	}
	if got := n.Stats.Repaired.Load(); got != 2 {
		t.Errorf("%d repaired publications are counted, want 2", got)
	}
}

func testFanoutProtocols(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const each, messages = 5, 200
	var progress [3 * each]atomic.Int64
	clients := make([]*kit.Client, len(progress))
	for i := range clients {
		switch i % 3 {
		case 0:
			clients[i] = n.Session(t, "news")
		case 1:
			clients[i] = n.Open(t, modes.PathRaw+"?channel=news")
		default:
			clients[i] = n.Open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
			clients[i].Connect("news")
		}
	}
	wait := kit.Background(t, len(clients), func(t kit.Tester, i int) {
		c := clients[i]
		c.T = t
		for j := range messages {
			if c.Protocol == wire.Raw {
				c.Expect(kit.Text(strconv.Itoa(j)))
			} else {
				c.ExpectPush("news", strconv.Itoa(j))
			}
			progress[i].Store(int64(j + 1))
		}
	})
	for j := range messages {
		n.Bus.Send("news", strconv.Itoa(j))
		pace(t, progress[:], int64(j))
	}
	wait()
}

// Bursts of small messages to clients that read only later: everything is
// queued and joined, and comes in order.
func testFanoutBursts(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	const clients, bursts, size = 10, 10, window
	readers := make([]*kit.Client, clients)
	for i := range readers {
		readers[i] = n.Session(t, "news", "other")
	}
	for burst := range bursts {
		for i := range size {
			n.Bus.Send("news", strconv.Itoa(burst*size+i))
		}
		n.Bus.Send("other", strconv.Itoa(burst))
		for _, c := range readers {
			other := false
			for i := 0; i < size || !other; {
				r := c.Next()
				if r.GetPush().GetChannel() == "other" {
					if got := c.Number(r, "other"); got != int64(burst) || other {
						t.Fatalf("got %d on the other channel, want %d once", got, burst)
					}
					other = true
					continue
				}
				if got := c.Number(r, "news"); got != int64(burst*size+i) {
					t.Fatalf("got %d, want %d", got, burst*size+i)
				}
				i++
			}
		}
	}
}

func testFanoutCounted(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	var clients []*kit.Client
	for range 4 {
		clients = append(clients, n.Session(t, "news"))
	}
	if got := n.Stats.MessagesIn.Load(); got != 4 {
		t.Errorf("%d messages of clients are counted, want 4", got)
	}
	if got := n.Stats.BytesIn.Load(); got < 4*uint64(len(`{"id":1,"connect":{"subs":{"news":{}}}}`)) {
		t.Errorf("%d bytes of clients are counted, which is less than their commands have", got)
	}
	// What is counted may be so a moment after it was written, replies too.
	kit.Await(t, "the replies to be counted", func() (bool, string) {
		out := n.Stats.FramesOut.Load()
		return out == 4, fmt.Sprintf("%d frames", out)
	})
	frames, bytes := n.Stats.FramesOut.Load(), n.Stats.BytesOut.Load()
	const messages = 10
	size := 0
	for i := range messages {
		data := fmt.Sprintf(`{"n":%d}`, i)
		size += len(data)
		n.Bus.Send("news", data)
		for _, c := range clients {
			c.ExpectPush("news", data)
		}
	}
	kit.Await(t, "the publications to be counted", func() (bool, string) {
		publications, published := n.Stats.Publications.Load(), n.Stats.PublicationBytes.Load()
		out, outBytes := n.Stats.FramesOut.Load()-frames, n.Stats.BytesOut.Load()-bytes
		least := uint64(len(clients) * (size + messages*len(`{"push":{"channel":"news","pub":{"data":}}}`)))
		return publications == messages && published == uint64(size) && out == uint64(messages*len(clients)) && outBytes > least,
			fmt.Sprintf("publications %d of %d bytes, frames %d of %d bytes", publications, published, out, outBytes)
	})
}

package enginetest

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-ws/tandem/modes"
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

func testFanoutMany(t *testing.T, build Build) {
	n := start(t, build, nil)
	const many, messages = 200, 50
	clients := make([]*client, many)
	together(t, many, func(t tester, i int) { clients[i] = n.session(t, "news") })
	for i := range messages {
		n.bus.publish("news", fmt.Sprintf(`{"number":%d}`, i))
	}
	together(t, many, func(t tester, i int) {
		clients[i].t = t
		for j := range messages {
			clients[i].expectPush("news", fmt.Sprintf(`{"number":%d}`, j))
		}
	})
}

// window is how far a publisher may be ahead of the slowest client: far below
// every queue's bound, because a client that reads must not be taken for slow.
const window = 100

// pace returns once each of the progresses is past number-window.
func pace(t tester, progress []atomic.Int64, number int64) {
	t.Helper()
	for i := range progress {
		if progress[i].Load() > number-window {
			continue
		}
		await(t, "a client to read on", func() (bool, string) {
			got := progress[i].Load()
			return got > number-window, fmt.Sprintf("client %d at %d of %d", i, got, number)
		})
	}
}

// Thousands of messages on several channels: each channel's come in order, and
// none is missing or doubled.
func testFanoutOrder(t *testing.T, build Build) {
	n := start(t, build, nil)
	const clients, messages = 8, 3000
	channels := []string{"a", "b", "c"}
	var progress [clients]atomic.Int64
	readers := make([]*client, clients)
	for i := range readers {
		readers[i] = n.session(t, channels...)
	}
	wait := background(t, clients, func(t tester, i int) {
		c := readers[i]
		c.t = t
		next := map[string]int64{}
		for range messages * len(channels) {
			r := c.next()
			channel := r.GetPush().GetChannel()
			if got := c.number(r, channel); got != next[channel] {
				t.Fatalf("channel %q: got %d, want %d", channel, got, next[channel])
			}
			next[channel]++
			progress[i].Add(1)
		}
	})
	for i := range messages {
		for j, channel := range channels {
			n.bus.publish(channel, strconv.Itoa(i))
			pace(t, progress[:], int64(i*len(channels)+j))
		}
	}
	wait()
}

// The bus delivers different channels from different goroutines.
func testFanoutConcurrent(t *testing.T, build Build) {
	n := start(t, build, nil)
	const channels, clients, messages = 32, 8, 60
	names := make([]string, channels)
	for i := range names {
		names[i] = fmt.Sprintf("channel %d", i)
	}
	var progress [clients]atomic.Int64
	readers := make([]*client, clients)
	for i := range readers {
		// Every second client has half of the channels.
		readers[i] = n.session(t, names[:channels/(1+i%2)]...)
	}
	readers[0].unsubscribe(names[0])
	readers[0].subscribe(names[0])
	wait := background(t, clients, func(t tester, i int) {
		c := readers[i]
		c.t = t
		next := map[string]int64{}
		for range messages * (channels / (1 + i%2)) {
			r := c.next()
			channel := r.GetPush().GetChannel()
			if got := c.number(r, channel); got != next[channel] {
				t.Fatalf("channel %q: got %d, want %d", channel, got, next[channel])
			}
			next[channel]++
			// A client with half of the channels counts twice.
			progress[i].Add(int64(1 + i%2))
		}
	})
	for i := range messages {
		for j, name := range names {
			n.bus.publish(name, strconv.Itoa(i))
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

func testPayloads(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.session(t, "news")
	raw := n.open(t, modes.PathRaw+"?channel=news")
	protobuf := n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
	protobuf.connect("news")
	for _, test := range payloads {
		n.bus.publish("news", test.data)
		c.expectPush("news", test.json)
		if strings.HasPrefix(test.name, "no UTF-8") {
			raw.expect(binaryFrame(test.data))
		} else {
			raw.expect(text(test.data))
		}
		protobuf.expectPush("news", test.data)
	}
	if got := n.stats.Repaired.Load(); got != 2 {
		t.Errorf("%d repaired publications are counted, want 2", got)
	}
}

func testFanoutProtocols(t *testing.T, build Build) {
	n := start(t, build, nil)
	const each, messages = 5, 200
	var progress [3 * each]atomic.Int64
	clients := make([]*client, len(progress))
	for i := range clients {
		switch i % 3 {
		case 0:
			clients[i] = n.session(t, "news")
		case 1:
			clients[i] = n.open(t, modes.PathRaw+"?channel=news")
		default:
			clients[i] = n.open(t, modes.PathCentrifuge, "Sec-WebSocket-Protocol: "+wire.ProtobufSubprotocol)
			clients[i].connect("news")
		}
	}
	wait := background(t, len(clients), func(t tester, i int) {
		c := clients[i]
		c.t = t
		for j := range messages {
			if c.protocol == wire.Raw {
				c.expect(text(strconv.Itoa(j)))
			} else {
				c.expectPush("news", strconv.Itoa(j))
			}
			progress[i].Store(int64(j + 1))
		}
	})
	for j := range messages {
		n.bus.publish("news", strconv.Itoa(j))
		pace(t, progress[:], int64(j))
	}
	wait()
}

// Bursts of small messages to clients that read only later: everything is
// queued and joined, and comes in order.
func testFanoutBursts(t *testing.T, build Build) {
	n := start(t, build, nil)
	const clients, bursts, size = 10, 10, window
	readers := make([]*client, clients)
	for i := range readers {
		readers[i] = n.session(t, "news", "other")
	}
	for burst := range bursts {
		for i := range size {
			n.bus.publish("news", strconv.Itoa(burst*size+i))
		}
		n.bus.publish("other", strconv.Itoa(burst))
		for _, c := range readers {
			other := false
			for i := 0; i < size || !other; {
				r := c.next()
				if r.GetPush().GetChannel() == "other" {
					if got := c.number(r, "other"); got != int64(burst) || other {
						t.Fatalf("got %d on the other channel, want %d once", got, burst)
					}
					other = true
					continue
				}
				if got := c.number(r, "news"); got != int64(burst*size+i) {
					t.Fatalf("got %d, want %d", got, burst*size+i)
				}
				i++
			}
		}
	}
}

func testFanoutCounted(t *testing.T, build Build) {
	n := start(t, build, nil)
	var clients []*client
	for range 4 {
		clients = append(clients, n.session(t, "news"))
	}
	if got := n.stats.MessagesIn.Load(); got != 4 {
		t.Errorf("%d messages of clients are counted, want 4", got)
	}
	if got := n.stats.BytesIn.Load(); got < 4*uint64(len(`{"id":1,"connect":{"subs":{"news":{}}}}`)) {
		t.Errorf("%d bytes of clients are counted, which is less than their commands have", got)
	}
	// What is counted may be so a moment after it was written, replies too.
	await(t, "the replies to be counted", func() (bool, string) {
		out := n.stats.FramesOut.Load()
		return out == 4, fmt.Sprintf("%d frames", out)
	})
	frames, bytes := n.stats.FramesOut.Load(), n.stats.BytesOut.Load()
	const messages = 10
	size := 0
	for i := range messages {
		data := fmt.Sprintf(`{"n":%d}`, i)
		size += len(data)
		n.bus.publish("news", data)
		for _, c := range clients {
			c.expectPush("news", data)
		}
	}
	await(t, "the publications to be counted", func() (bool, string) {
		publications, published := n.stats.Publications.Load(), n.stats.PublicationBytes.Load()
		out, outBytes := n.stats.FramesOut.Load()-frames, n.stats.BytesOut.Load()-bytes
		least := uint64(len(clients) * (size + messages*len(`{"push":{"channel":"news","pub":{"data":}}}`)))
		return publications == messages && published == uint64(size) && out == uint64(messages*len(clients)) && outBytes > least,
			fmt.Sprintf("publications %d of %d bytes, frames %d of %d bytes", publications, published, out, outBytes)
	})
}

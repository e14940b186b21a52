//go:build linux && !race

// The race detector makes sync.Pool forget at random, so what allocates is
// counted without it: make test runs these tests by themselves.

package optimized

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func TestUpgradeAllocatesNothing(t *testing.T) {
	h := newHandshaker(testEngine(t, admission.Options{}))
	request := []byte(upgradeRequest)
	if n := testing.AllocsPerRun(200, func() {
		if err := h.run(-1, request); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations in an upgrade, want none", n)
	}
}

func TestFanOutAllocatesNothing(t *testing.T) {
	l := testLoop(t)
	a := l.testAudience("news")
	clients := make([]*os.File, 20)
	for i := range clients {
		_, clients[i] = l.testConnection(t, wire.JSON, a)
	}
	frame, _ := wire.PushFrame(wire.JSON, "news", []byte("hello"))
	buffer := make([]byte, 4096)
	turn := func() {
		for range 3 {
			l.inbox.publish(a, frames{wire.JSON: frame})
		}
		l.empty()
		for _, c := range clients {
			if n, err := c.Read(buffer); err != nil || n != 3*len(frame) {
				t.Fatalf("read %d bytes, %v", n, err)
			}
		}
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations in a turn that sends 3 frames to 20 connections, want none", n)
	}
}

// TestDeflatedFanOutAllocatesTheFramesOnly: what compression costs is the frame
// before and the frame after, whatever the number of receivers.
func TestDeflatedFanOutAllocatesTheFramesOnly(t *testing.T) {
	l := testLoop(t)
	a := l.testAudience("news")
	clients := make([]*os.File, 20)
	for i := range clients {
		_, clients[i] = l.testDeflateConnection(t, wire.JSON, a)
	}
	p := modes.Publication{Channel: []byte("news"), Data: benchmarkMessage(1000)}
	buffer := make([]byte, 4096)
	turn := func() {
		for range 3 {
			l.engine.Deliver(p)
		}
		l.empty()
		for _, c := range clients {
			if n, err := c.Read(buffer); err != nil || n > 3*500 {
				t.Fatalf("read %d bytes, %v", n, err)
			}
		}
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n != 3*2 {
		t.Errorf("%v allocations in a turn that sends 3 frames to 20 connections, want 6", n)
	}
}

func TestDeflatedInputAllocatesNothing(t *testing.T) {
	e := testEngine(t, admission.Options{})
	e.Compression = true
	h := newHandshaker(e)
	request := []byte(strings.Replace(upgradeRequest, "permessage-deflate", `x; y="z", permessage-deflate; client_max_window_bits="15"`, 1))
	if n := testing.AllocsPerRun(200, func() {
		if err := h.run(-1, request); err != nil || !(h.extension != "") {
			t.Fatal(err, (h.extension != ""))
		}
	}); n != 0 {
		t.Errorf("%v allocations in an upgrade, want none", n)
	}
	l := testLoop(t)
	_, _ = l.testDeflateConnection(t, wire.Raw, l.testAudience("news"))
	frame := clientFrame(0xc1, deflated(t, string(benchmarkMessage(1000))))
	buffer := make([]byte, len(frame))
	turn := func() {
		copy(buffer, frame)
		l.messages(0, l.slab.at(0), buffer)
	}
	turn()
	if n := testing.AllocsPerRun(200, turn); n != 0 || l.engine.Stats.MessagesIn.Load() < 200 {
		t.Errorf("%v allocations in a compressed message, %d messages", n, l.engine.Stats.MessagesIn.Load())
	}
}

func TestParserAllocatesNothingForWholeMessages(t *testing.T) {
	frame := clientFrame(0x81, []byte(`{"id":1}`))
	data := bytes.Clone(frame)
	p := &parser{limit: 1000}
	if n := testing.AllocsPerRun(100, func() {
		copy(data, frame)
		if f, _ := p.next(data); f.event != message {
			t.Fatal("no message")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

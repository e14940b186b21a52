//go:build linux && !race

// The race detector makes sync.Pool forget at random, so what allocates is
// counted without it: make test runs these tests by themselves.

package optimized

import (
	"bytes"
	"os"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/wire"
)

func TestUpgradeAllocatesNothing(t *testing.T) {
	h := newHandshaker(testEngine(t, modes.DoorOptions{}))
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

//go:build linux

package optimized

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// A connection is a record and a descriptor: ten thousand need no more
// goroutines than a hundred.
func TestGoroutinesStayFlat(t *testing.T) {
	const few, many = 100, 10_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < many+200 {
		t.Fatalf("this test needs %d descriptors a process, the limit is %d: raise it with ulimit -n", many+200, limit.Cur)
	}

	stats := modes.NewStats()
	rules := session.Rules{Version: "test", MaxChannels: 10, MaxChannelLength: 100}
	controller, err := admission.New(admission.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const workers = 8
	e, err := New(modes.Config{
		Addr: "127.0.0.1:0", Handler: http.NotFoundHandler(), Bus: quietBus{}, Admission: controller, Rules: rules,
		Limits: modes.Limits{
			MaxMessageSize: 1 << 16, MaxQueuedBytes: 1 << 20, HandshakeTimeout: time.Hour,
			GapRate: 1000,
		},
		Stats: stats, Log: slog.New(slog.DiscardHandler),
	}, Options{Loops: 2, Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})

	c := startClients(t, e.Addr().String())
	c.order("connect %d", few)
	before := runtime.NumGoroutine()
	c.order("connect %d", many)
	// The workers subscribe; how many of them are awake is not the matter here.
	if after := runtime.NumGoroutine(); after > before+workers {
		t.Errorf("%d goroutines with %d connections, %d with %d", before, few, after, many)
	}
	if got := stats.TotalConnections(); got != many {
		t.Errorf("%d connections, want %d", got, many)
	}
	e.Deliver(modes.Publication{Channel: []byte("news"), Data: []byte(`"to all"`)})
	c.order(`expect "to all"}}}`)
}

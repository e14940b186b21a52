package idiomatic

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// patience is how long a test waits for what should happen at once.
const patience = 2 * time.Minute

// node is a running engine on a memory bus.
type node struct {
	*Engine
	bus   *memoryBus
	stats *modes.Stats
}

// setup is what a test may change before the engine is made.
type setup struct {
	config    modes.Config
	admission admission.Options
	options   Options
}

func start(t testing.TB, changes ...func(*setup)) *node {
	t.Helper()
	bus, stats := newMemoryBus(), modes.NewStats()
	s := &setup{
		config: modes.Config{
			Addr: "127.0.0.1:0", Handler: http.NotFoundHandler(), Bus: bus, Stats: stats,
			Log: slog.New(slog.DiscardHandler),
			Rules: session.Rules{Version: "tandem test", PingInterval: 25 * time.Second, ClientPublish: true,
				MaxChannels: 4, MaxChannelLength: 255},
			Limits: modes.Limits{MaxMessageSize: 64 << 10, MaxQueuedBytes: 1 << 20, HandshakeTimeout: patience,
				PingInterval: 25 * time.Second, PongTimeout: 8 * time.Second,
				GapRate: 1000},
			Echo: true,
		},
	}
	for _, change := range changes {
		change(s)
	}
	s.config.Rules.PingInterval = s.config.Limits.PingInterval
	var err error
	if s.config.Admission, err = admission.New(s.admission); err != nil {
		t.Fatal(err)
	}
	e, err := New(s.config, s.options)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(e); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		bus.Close()
		n := &node{e, bus, stats}
		n.expectNothingLeft(t)
	})
	return &node{e, bus, stats}
}

// expectNothingLeft checks that no connection has left anything behind.
func (n *node) expectNothingLeft(t testing.TB) {
	t.Helper()
	if left := n.bus.held(""); left != 0 {
		t.Errorf("%d references on channels are left", left)
	}
	for p := range n.stats.Connections {
		if left := n.stats.Connections[p].Load(); left != 0 {
			t.Errorf("%d %s connections are left", left, wire.Protocol(p))
		}
	}
	if left := n.stats.Subscriptions.Load(); left != 0 {
		t.Errorf("%d subscriptions are left", left)
	}
	if left := n.stats.Queued.Load(); left != 0 {
		t.Errorf("%d queued bytes are left", left)
	}
}

func (n *node) url(path string) string { return "ws://" + n.Addr().String() + path }

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// disconnected waits until one connection has ended for this reason.
func (n *node) disconnected(t *testing.T, reason string) {
	t.Helper()
	eventually(t, "disconnected: "+reason, func() bool {
		return testutil.ToFloat64(n.stats.Disconnected.WithLabelValues(reason)) == 1
	})
}

// client is a test's end of a connection.
type client struct {
	t testing.TB
	*websocket.Conn
}

func (n *node) dial(t testing.TB, path string) *client {
	t.Helper()
	conn, response, err := websocket.DefaultDialer.Dial(n.url(path), nil)
	if err != nil {
		t.Fatalf("dial %s: %v", path, err)
	}
	_ = response.Body.Close()
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t, conn}
}

// connect dials the Centrifuge endpoint and sends the connect command.
func (n *node) connect(t *testing.T) *client {
	t.Helper()
	c := n.dial(t, modes.PathCentrifuge)
	c.write(`{"id":1,"connect":{}}`)
	if reply := c.read(); !strings.HasPrefix(reply, `{"id":1,"connect":{"client":"`) {
		t.Fatalf("connect: %s", reply)
	}
	return c
}

func (c *client) write(text string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *client) read() string {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, data, err := c.ReadMessage()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return string(data)
}

func (c *client) expect(messages ...string) {
	c.t.Helper()
	for _, want := range messages {
		if got := c.read(); got != want {
			c.t.Fatalf("read %s, want %s", got, want)
		}
	}
}

// expectClose reads until the close frame and answers it.
func (c *client) expectClose(code int) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for {
		_, data, err := c.ReadMessage()
		if err == nil {
			c.t.Logf("before the close frame: %.100s", data)
			continue
		}
		if !websocket.IsCloseError(err, code) {
			c.t.Fatalf("closed by %v, want %d", err, code)
		}
		return
	}
}

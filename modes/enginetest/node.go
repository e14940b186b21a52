package enginetest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// patience is how long the suite waits for what must happen. It is far longer
// than anything takes, on a busy machine too, so that only what never happens
// fails.
const patience = 2 * time.Minute

// shortTimeout is the time-out of a case that waits for it to pass. Whatever the
// client has to do before that takes a small part of it, on a busy machine too.
const shortTimeout = 5 * time.Second

// version is what the nodes of the suite call themselves.
const version = "tandem test"

// setup is what a case may change about its node.
type setup struct {
	rules     session.Rules
	limits    modes.Limits
	admission admission.Options
	echo      bool      // /echo is open
	bus       modes.Bus // nil: a fakeBus
	// subscribeTimeout is how long a Subscribe may wait for the fakeBus; 0: patience.
	subscribeTimeout time.Duration
	log              slog.Handler // nil: the test's log
	// compression offers permessage-deflate.
	compression bool
}

// node is one running engine with all that it needs.
type node struct {
	engine    modes.Engine
	stats     *modes.Stats
	bus       *fakeBus // nil if the case brought its own
	addr      string
	limits    modes.Limits
	secure    bool // it speaks TLS
	served    chan error
	stop      context.CancelFunc
	admission *admission.Controller
}

// start runs an engine on a free port until the test ends, and then checks that
// it stops and leaves nothing behind. change may be nil.
func start(t testing.TB, build Build, change func(*setup)) *node {
	t.Helper()
	s := setup{
		rules: session.Rules{Version: version, MaxChannels: 128, MaxChannelLength: 255},
		limits: modes.Limits{
			MaxMessageSize: 64 << 10, MaxQueuedBytes: 1 << 20,
			HandshakeTimeout: patience, PongTimeout: patience, GapRate: 10_000,
		},
		echo: true,
	}
	if change != nil {
		change(&s)
	}
	s.rules.PingInterval = s.limits.PingInterval
	n := &node{stats: modes.NewStats(), limits: s.limits, served: make(chan error, 1)}
	bus := s.bus
	if bus == nil {
		n.bus = newFakeBus(t)
		if s.subscribeTimeout > 0 {
			n.bus.patience = s.subscribeTimeout
		}
		bus = n.bus
	}
	controller, err := admission.New(s.admission)
	if err != nil {
		t.Fatal(err)
	}
	if s.log == nil {
		s.log = slog.NewTextHandler(logWriter{t}, nil)
	}
	n.admission = controller
	n.engine, err = build(modes.Config{
		Addr: "127.0.0.1:0", Handler: plainHandler(), Bus: bus, Admission: controller, Echo: s.echo, Rules: s.rules,
		Limits: s.limits, Compression: s.compression, Stats: n.stats, Log: slog.New(s.log),
	})
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	n.addr = n.engine.Addr().String()
	_, n.secure = n.engine.(secureEngine)
	if n.bus != nil {
		if err := n.bus.Start(n.engine); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go func() { n.served <- n.engine.Serve(ctx) }()
	t.Cleanup(func() {
		n.stop()
		n.awaitServed(t)
		if n.bus != nil {
			n.bus.Close()
		}
		n.settle(t)
		n.awaitSockets(t, 0)
	})
	return n
}

// awaitServed waits until Serve has returned nil. It may be called repeatedly.
func (n *node) awaitServed(t tester) {
	t.Helper()
	select {
	case err := <-n.served:
		if err != nil {
			t.Errorf("Serve: %v, want nil", err)
		}
		n.served <- nil
	case <-time.After(patience):
		t.Fatalf("Serve did not return")
	}
}

// settle waits until nothing is left of any connection.
func (n *node) settle(t tester) {
	t.Helper()
	await(t, "no connection, subscription, queued byte and channel reference left", func() (bool, string) {
		references := 0
		if n.bus != nil {
			references = n.bus.references()
		}
		state := fmt.Sprintf("connections %d, subscriptions %d, queued bytes %d, references %d",
			n.stats.TotalConnections(), n.stats.Subscriptions.Load(), n.stats.Queued.Load(), references)
		return state == "connections 0, subscriptions 0, queued bytes 0, references 0", state
	})
}

// awaitConnections waits until exactly want connections are counted.
func (n *node) awaitConnections(t tester, want int64) {
	t.Helper()
	await(t, fmt.Sprintf("%d connections", want), func() (bool, string) {
		got := n.stats.TotalConnections()
		return got == want, fmt.Sprint(got)
	})
}

// awaitDisconnects waits until want connections have ended for reason.
func (n *node) awaitDisconnects(t tester, reason string, want int) {
	t.Helper()
	awaitCount(t, n.stats.Disconnected, reason, want)
}

// awaitCount waits until the counter with this label is exactly want.
func awaitCount(t tester, vec *prometheus.CounterVec, label string, want int) {
	t.Helper()
	await(t, fmt.Sprintf("counter %q at %d", label, want), func() (bool, string) {
		got := count(t, vec, label)
		return got == want, fmt.Sprint(got)
	})
}

// count returns the value of the counter with this label.
func count(t tester, vec *prometheus.CounterVec, label string) int {
	t.Helper()
	var m dto.Metric
	if err := vec.WithLabelValues(label).Write(&m); err != nil {
		t.Fatalf("read counter: %v", err)
	}
	return int(m.GetCounter().GetValue())
}

// connections counts the open connections of one protocol.
func (n *node) connections(p wire.Protocol) int64 { return n.stats.Connections[p].Load() }

// plainHandler answers requests that are for no WebSocket endpoint. It describes the
// request, with the length of the body and the body.
func plainHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%s %s %s %d %s", r.Method, r.RequestURI, r.Header.Get("X-Case"), len(body), body)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		// The client may be gone.
		_, _ = w.Write(make([]byte, 64<<10))
	})
	return mux
}

// logWriter keeps the engine's log with the test that it belongs to.
type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

package kit

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

// Patience is how long the suite waits for what must happen. It is far longer
// than anything takes, on a busy machine too, so that only what never happens
// fails.
const Patience = 2 * time.Minute

// ShortTimeout is the time-out of a case that waits for it to pass. Whatever the
// client has to do before that takes a small part of it, on a busy machine too.
const ShortTimeout = 5 * time.Second

// Version is what the nodes of the suite call themselves.
const Version = "tandem test"

// Setup is what a case may change about its node.
type Setup struct {
	Rules     session.Rules
	Limits    modes.Limits
	Admission admission.Options
	Echo      bool      // /echo is open
	bus       modes.Bus // nil: a FakeBus
	// SubscribeTimeout is how long a Subscribe may wait for the FakeBus; 0: patience.
	SubscribeTimeout time.Duration
	Log              slog.Handler // nil: the test's log
	// Compression offers permessage-deflate.
	Compression bool
}

// Node is one running engine with all that it needs.
type Node struct {
	Engine    modes.Engine
	Stats     *modes.Stats
	Bus       *FakeBus // nil if the case brought its own
	addr      string
	Limits    modes.Limits
	Secure    bool // it speaks TLS
	served    chan error
	Stop      context.CancelFunc
	admission *admission.Controller
}

// Start runs an engine on a free port until the test ends, and then checks that
// it stops and leaves nothing behind. change may be nil.
func Start(t testing.TB, build Build, change func(*Setup)) *Node {
	t.Helper()
	s := Setup{
		Rules: session.Rules{Version: Version, MaxChannels: 128, MaxChannelLength: 255},
		Limits: modes.Limits{
			MaxMessageSize: 64 << 10, MaxQueuedBytes: 1 << 20,
			HandshakeTimeout: Patience, PongTimeout: Patience, GapRate: 10_000,
		},
		Echo: true,
	}
	if change != nil {
		change(&s)
	}
	s.Rules.PingInterval = s.Limits.PingInterval
	n := &Node{Stats: modes.NewStats(), Limits: s.Limits, served: make(chan error, 1)}
	bus := s.bus
	if bus == nil {
		n.Bus = newFakeBus(t)
		if s.SubscribeTimeout > 0 {
			n.Bus.patience = s.SubscribeTimeout
		}
		bus = n.Bus
	}
	controller, err := admission.New(s.Admission)
	if err != nil {
		t.Fatal(err)
	}
	if s.Log == nil {
		s.Log = slog.NewTextHandler(logWriter{t}, nil)
	}
	n.admission = controller
	n.Engine, err = build(modes.Config{
		Addr: "127.0.0.1:0", Handler: plainHandler(), Bus: bus, Admission: controller, Echo: s.Echo, Rules: s.Rules,
		Limits: s.Limits, Compression: s.Compression, Stats: n.Stats, Log: slog.New(s.Log),
	})
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	n.addr = n.Engine.Addr().String()
	_, n.Secure = n.Engine.(SecureEngine)
	if n.Bus != nil {
		if err := n.Bus.Start(n.Engine); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.Stop = cancel
	go func() { n.served <- n.Engine.Serve(ctx) }()
	t.Cleanup(func() {
		n.Stop()
		n.AwaitServed(t)
		if n.Bus != nil {
			n.Bus.Close()
		}
		n.Settle(t)
		n.AwaitSockets(t, 0)
	})
	return n
}

// AwaitServed waits until Serve has returned nil. It may be called repeatedly.
func (n *Node) AwaitServed(t Tester) {
	t.Helper()
	select {
	case err := <-n.served:
		if err != nil {
			t.Errorf("Serve: %v, want nil", err)
		}
		n.served <- nil
	case <-time.After(Patience):
		t.Fatalf("Serve did not return")
	}
}

// Settle waits until nothing is left of any connection.
func (n *Node) Settle(t Tester) {
	t.Helper()
	Await(t, "no connection, subscription, queued byte and channel reference left", func() (bool, string) {
		references := 0
		if n.Bus != nil {
			references = n.Bus.References()
		}
		state := fmt.Sprintf("connections %d, subscriptions %d, queued bytes %d, references %d",
			n.Stats.TotalConnections(), n.Stats.Subscriptions.Load(), n.Stats.Queued.Load(), references)
		return state == "connections 0, subscriptions 0, queued bytes 0, references 0", state
	})
}

// AwaitConnections waits until exactly want connections are counted.
func (n *Node) AwaitConnections(t Tester, want int64) {
	t.Helper()
	Await(t, fmt.Sprintf("%d connections", want), func() (bool, string) {
		got := n.Stats.TotalConnections()
		return got == want, fmt.Sprint(got)
	})
}

// AwaitDisconnects waits until want connections have ended for reason.
func (n *Node) AwaitDisconnects(t Tester, reason string, want int) {
	t.Helper()
	AwaitCount(t, n.Stats.Disconnected, reason, want)
}

// AwaitCount waits until the counter with this label is exactly want.
func AwaitCount(t Tester, vec *prometheus.CounterVec, label string, want int) {
	t.Helper()
	Await(t, fmt.Sprintf("counter %q at %d", label, want), func() (bool, string) {
		got := Count(t, vec, label)
		return got == want, fmt.Sprint(got)
	})
}

// Count returns the value of the counter with this label.
func Count(t Tester, vec *prometheus.CounterVec, label string) int {
	t.Helper()
	var m dto.Metric
	if err := vec.WithLabelValues(label).Write(&m); err != nil {
		t.Fatalf("read counter: %v", err)
	}
	return int(m.GetCounter().GetValue())
}

// Connections counts the open connections of one protocol.
func (n *Node) Connections(p wire.Protocol) int64 { return n.Stats.Connections[p].Load() }

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

// Drain drains n in the background; what it returns waits for it, and for Serve.
func (n *Node) Drain(ctx context.Context, t *testing.T, spread time.Duration) (wait func() error) {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- n.Engine.Drain(ctx, spread) }()
	return func() error {
		t.Helper()
		select {
		case err := <-result:
			n.AwaitServed(t)
			return err
		case <-time.After(Patience):
			t.Fatalf("Drain did not return")
			return nil
		}
	}
}

// Build constructs the engine under test. The address in the Config ends in
// port 0.
type Build func(modes.Config) (modes.Engine, error)

//go:build linux

package optimized

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// silentAfter sends only so many writes.
type silentAfter struct {
	net.Conn
	left int
}

func (c *silentAfter) Write(b []byte) (int, error) {
	if c.left == 0 {
		return len(b), nil
	}
	c.left--
	return c.Conn.Write(b)
}

// Clients that stop in the middle of their TLS handshakes make room for those who go
// on, however many they are: the loop keeps no more handshakes than it may.
func TestStuckShakesMakeRoom(t *testing.T) {
	const most, stuck, patience = 4, 40, 2 * time.Minute
	lender := httptest.NewTLSServer(nil)
	lent := lender.TLS.Certificates
	lender.Close()
	stats := modes.NewStats()
	rules := session.Rules{Version: "test", MaxChannels: 10, MaxChannelLength: 100}
	controller, err := admission.New(admission.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(modes.Config{
		Addr: "127.0.0.1:0", TLS: &tls.Config{Certificates: lent}, Handler: http.NotFoundHandler(), Bus: quietBus{}, Admission: controller, Echo: true, Rules: rules,
		Limits: modes.Limits{
			MaxMessageSize: 1 << 16, MaxQueuedBytes: 1 << 20, HandshakeTimeout: time.Hour,
			GapRate: 1000,
		},
		Stats: stats, Log: slog.New(slog.DiscardHandler),
	}, Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	e.shakes.most = most
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	dial := func(writes int) *tls.Conn {
		conn, err := net.Dial("tcp", e.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		// The test is not about whom the client trusts.
		client := tls.Client(&silentAfter{conn, writes}, &tls.Config{InsecureSkipVerify: true})
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		return client
	}
	for range stuck {
		dial(1)
	}
	healthy := dial(-1)
	if _, err := io.WriteString(healthy, "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	const want = "HTTP/1.1 101"
	answer := make([]byte, len(want))
	if _, err := io.ReadFull(healthy, answer); err != nil || string(answer) != want {
		t.Errorf("got %q, %v, want %q", answer, err, want)
	}
	// One that is about to wait, and does not yet, is not counted among those who do.
	if got := testutil.ToFloat64(stats.Refused.WithLabelValues(handshake.RefusedBusy.Reason)); got < stuck-2*most {
		t.Errorf("%v handshakes made room, want about %d", got, stuck-most)
	}
}

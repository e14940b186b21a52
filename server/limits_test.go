package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/server/config"
)

// try makes one handshake and returns the status, which is 101 where it is let in.
func try(t *testing.T, url string, header http.Header) (*websocket.Conn, int, string) {
	t.Helper()
	conn, response, err := websocket.DefaultDialer.Dial(url, header)
	if response == nil {
		t.Fatal(err)
	}
	if err != nil {
		var body [200]byte
		n, _ := response.Body.Read(body[:])
		return nil, response.StatusCode, strings.TrimSpace(string(body[:n]))
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, response.StatusCode, ""
}

// TestMemoryLimit fills the memory of a server with what waits for one client
// that reads nothing: new clients are refused, those that are connected stay, and
// once the memory is free again new ones are accepted. The messages are small and
// no time-out is short, so that a busy machine only takes longer.
func TestMemoryLimit(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode, "MEMORY_LIMIT=64MiB", "API_KEY=k", "MAX_QUEUED_BYTES=500000000", "SEND_QUEUE=4096",
			"PING_INTERVAL=1h", "PONG_TIMEOUT=59m", "HEARTBEAT_TIMEOUT=10m")
		p.awaitReady(http.StatusOK, "ok")
		healthy := connect(t, p.public)
		healthy.subscribe("news")
		stuck, _, _ := try(t, "ws://"+p.public+"/ws?channel=big", nil)

		url := "ws://" + p.public + "/connection/websocket"
		const size, most = 256 << 10, 256 << 20
		body := fmt.Sprintf(`{"channel":"big","data":%q}`, strings.Repeat("x", size))
		status, why := 0, ""
		for published := 0; status != http.StatusServiceUnavailable; published += size {
			if published >= most {
				t.Fatalf("%d MB wait for a client, and a new one is answered %d", published>>20, status)
			}
			if _, answer := p.post("/api/publish", "k", body); !strings.Contains(answer, "result") {
				t.Fatalf("publish: %s", answer)
			}
			var conn *websocket.Conn
			if conn, status, why = try(t, url, nil); conn != nil {
				_ = conn.Close()
			}
		}
		if why != "memory limit" {
			t.Errorf("refused because of %q", why)
		}
		if _, metrics := p.get("/metrics"); !strings.Contains(metrics, `tandem_handshake_failures_total{reason="memory limit"} `) {
			t.Error("the metrics do not give the reason of the refusal")
		}
		p.post("/api/publish", "k", `{"channel":"news","data":"still here"}`)
		if _, data := healthy.publication(); data != `"still here"` {
			t.Errorf("received %s", data)
		}

		_ = stuck.Close()
		await(t, "new clients to be accepted again", func() bool {
			_, status, _ := try(t, url, nil)
			return status == http.StatusSwitchingProtocols
		})
	})
}

func TestAddressLimits(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode, "MAX_CONNECTIONS_PER_ADDRESS=1", "TRUSTED_PROXIES=10.0.0.1,127.0.0.0/8", "FORWARDED_HEADER=Forwarded")
		url := "ws://" + p.public + "/connection/websocket"
		for want, header := range []string{`for=192.0.2.1`, `for="[2001:db8::1]:99"`, `for=192.0.2.1, for=10.0.0.1`} {
			_, status, why := try(t, url, http.Header{"Forwarded": {header}})
			if expected := []int{101, 101, 429}[want]; status != expected {
				t.Errorf("%s: answered %d %s, want %d", header, status, why, expected)
			}
		}
	})
}

func TestPublicInternalListener(t *testing.T) {
	p := startProcess(t, "INTERNAL_ADDR=0.0.0.0:0")
	p.mu.Lock()
	defer p.mu.Unlock()
	warned := false
	for _, entry := range p.entries {
		warned = warned || entry["level"] == "WARN" && strings.Contains(fmt.Sprint(entry["msg"]), "internal listener")
	}
	if !warned {
		t.Error("nothing is said of an internal listener that anybody may reach")
	}
}

// TestMemoryLimitVariables: both variables set the limit of the Go runtime. A value that
// the runtime itself cannot read ends the process as a bad variable does.
func TestMemoryLimitVariables(t *testing.T) {
	for want, environ := range map[string][]string{
		"none":     nil,
		"64MiB":    {"GOMEMLIMIT=64MiB"},
		"512MiB":   {"MEMORY_LIMIT=512Mi"},
		"500000KB": {"MEMORY_LIMIT=500MB", "GOMEMLIMIT=64MiB"},
	} {
		p := launch(t, append(environ, "ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "EMBEDDED_REDIS_ADDR=127.0.0.1:0", "LOG_FORMAT=json")...)
		got := p.awaitLog("ready for connections")["memory_limit"].(string)
		var a, b config.Size
		if want != "none" && (a.UnmarshalText([]byte(got)) != nil || b.UnmarshalText([]byte(want)) != nil) || a != b || want == "none" && got != want {
			t.Errorf("%q: the limit is %s, want %s", environ, got, want)
		}
	}
	if code, _, _ := oneShot(t, []string{"GOMEMLIMIT=512MB"}); code != exitUsage {
		t.Errorf("GOMEMLIMIT=512MB: exit code %d, want %d", code, exitUsage)
	}
}

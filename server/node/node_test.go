package node

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func request(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestInternalMethods(t *testing.T) {
	h := internalHandler(func() error { return nil }, prometheus.NewRegistry(), nil, slog.New(slog.DiscardHandler))
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/metrics", 405},
		{"DELETE", "/healthz", 405},
		{"GET", "/nowhere", 404},
		{"POST", "/api/publish", 404},
		{"GET", "/healthz", 200},
	} {
		if w := request(h, test.method, test.path); w.Code != test.want {
			t.Errorf("%s %s: %d, want %d", test.method, test.path, w.Code, test.want)
		}
	}
}

// TestDemoPage shows that the page holds what it is told, and that the policy
// lets its own script run and no other.
func TestDemoPage(t *testing.T) {
	h, err := publicHandler(demo{Mode: "<mode>", Version: "1.2.3", Publish: true, Endpoint: "/e", Command: `redis-cli publish news '{"a":1}'`})
	if err != nil {
		t.Fatal(err)
	}
	w := request(h, "GET", "/")
	page, policy := w.Body.String(), w.Header().Get("Content-Security-Policy")
	for _, want := range []string{`<b id="mode">&lt;mode&gt;</b>`, "1.2.3", `data-endpoint="/e"`, `data-publish="true"`, `<form id="publish"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Count(page, "<script") != 1 || strings.Contains(page, "src=") || strings.Contains(page, "@import") {
		t.Error("the page is not self-contained")
	}
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'sha256-") {
		t.Errorf("the policy is %s", policy)
	}
	h, err = publicHandler(demo{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(request(h, "GET", "/").Body.String(), `<form id="publish"`) {
		t.Error("the page offers to publish where clients may not")
	}
}

func TestPublicAddress(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:9000": false, "[::1]:9000": false, "10.1.2.3:9000": false, "192.168.1.1:1": false, "[fe80::1]:1": false,
		"0.0.0.0:9000": true, "[::]:9000": true, "203.0.113.1:9000": true,
	} {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := public(a); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

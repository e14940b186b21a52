package node

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/http"
)

//go:embed demo/index.html
var demoPage string

// demo is what the page shows about the server.
type demo struct {
	Mode, Version string
	Publish       bool
	Endpoint      string
	Command       string // publishes to the channel that the page subscribes to
}

// publicHandler serves the requests to the public port that are not for an endpoint of
// the engine: the demo page and the health check. It may be called concurrently.
func publicHandler(d demo) (http.Handler, error) {
	page, policy, err := renderDemo(d)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		_, _ = w.Write(page)
	})
	mux.HandleFunc("GET /healthz", alive)
	return mux, nil
}

// renderDemo returns the page and the policy that lets only its own script run.
func renderDemo(d demo) (page []byte, policy string, err error) {
	t, err := template.New("demo").Parse(demoPage)
	if err != nil {
		return nil, "", fmt.Errorf("tandem: parse the demo page: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return nil, "", fmt.Errorf("tandem: render the demo page: %w", err)
	}
	_, rest, _ := bytes.Cut(b.Bytes(), []byte("<script>"))
	script, _, _ := bytes.Cut(rest, []byte("</script>"))
	digest := sha256.Sum256(script)
	policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self' ws: wss:; " +
		"script-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return b.Bytes(), policy, nil
}

// alive answers /healthz.
func alive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

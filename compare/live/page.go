package live

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"
)

//go:embed assets
var assets embed.FS

const (
	policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	maxBody      = 4 << 10
	writeLimit   = 5 * time.Second
	keepAlive    = 15 * time.Second
	shutdownTime = 2 * time.Second
)

// page serves the dashboard: the files, the events and the settings.
type page struct {
	feed     *feed
	controls *controls
}

func (p *page) handler() (http.Handler, error) {
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		return nil, fmt.Errorf("live: embedded files: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", p.events)
	mux.HandleFunc("POST /settings", p.settings)
	mux.Handle("GET /", http.FileServerFS(files))
	// a page of another site in the same browser must not change the load
	return guard(http.NewCrossOriginProtection().Handler(mux)), nil
}

// guard accepts only requests made to this machine by name or address, so that a
// foreign host name that resolves to loopback is refused, and sets headers that
// isolate the page.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "compare live answers on loopback addresses only", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

// events streams server-sent events until the page closes or there are no more.
func (p *page) events(w http.ResponseWriter, r *http.Request) {
	now, _ := p.controls.get()
	reader, err := p.feed.open(now)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer p.feed.close(reader)
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		line := ": alive\n\n"
		select {
		case e, more := <-reader:
			if !more {
				return
			}
			line = fmt.Sprintf("event: %s\ndata: %s\n\n", e.name, e.data)
		case <-alive.C:
		case <-r.Context().Done():
			return
		}
		// a page that is gone, or takes nothing, shows in one of these
		err := out.SetWriteDeadline(time.Now().Add(writeLimit))
		if err == nil {
			_, err = io.WriteString(w, line)
		}
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			return
		}
	}
}

// settings accepts new settings, all four of them.
func (p *page) settings(w http.ResponseWriter, r *http.Request) {
	var s struct {
		Connections *int `json:"connections"`
		Rate        *int `json:"rate"`
		Size        *int `json:"size"`
		Channels    *int `json:"channels"`
	}
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	in.DisallowUnknownFields()
	err := in.Decode(&s)
	if err == nil && (s.Connections == nil || s.Rate == nil || s.Size == nil || s.Channels == nil) {
		err = errors.New("connections, rate, size and channels are all needed")
	}
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"errors": Invalid{"request": err.Error()}})
		return
	}
	want := Settings{*s.Connections, *s.Rate, *s.Size, *s.Channels}
	var invalid Invalid
	if err := p.controls.set(want); errors.As(err, &invalid) {
		answer(w, http.StatusUnprocessableEntity, map[string]any{"errors": invalid})
		return
	}
	answer(w, http.StatusOK, map[string]any{"settings": want})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who has gone cannot be told
}

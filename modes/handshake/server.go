package handshake

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
)

const (
	// idleTimeout is how long a connection may wait for its next request. A proxy
	// keeps its connections for about as long.
	idleTimeout = time.Minute
	// readAhead is how much net/http reads beyond MaxHeaderBytes before it refuses a
	// request.
	readAhead = 4 << 10
	// answerTimeout is how long a client may take to receive an answer that was
	// waited for.
	answerTimeout = 5 * time.Second
)

// NewServer returns net/http's server for the connections of an engine's public
// address. A request takes HandshakeTimeout at most, its body included, and so does
// its answer; a handler that waits, or whose response goes on, calls Unlimited.
// running counts the connections that it has, whose goroutines outlive its Close.
func NewServer(config *modes.Config, h http.Handler, running *sync.WaitGroup) *http.Server {
	timeout := config.Limits.HandshakeTimeout
	return &http.Server{
		Handler: admitted(config, h),
		ConnState: func(conn net.Conn, state http.ConnState) {
			switch plain := conn.(Conn).Admitted(); state {
			case http.StateNew:
				running.Add(1)
			case http.StateActive:
				plain.Busy()
			case http.StateIdle:
				plain.Idle()
			case http.StateHijacked:
				plain.Hijacked()
				running.Done()
			case http.StateClosed:
				running.Done()
			}
		},
		ConnContext:       withConn,
		ReadHeaderTimeout: timeout,
		ReadTimeout:       timeout,
		// It is counted from the end of the header, and the body may take as long.
		WriteTimeout:   2 * timeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: config.Limits.HeaderSize() - readAhead,
		ErrorLog:       slog.NewLogLogger(config.Log.Handler(), slog.LevelDebug),
	}
}

// Unlimited lifts the read timeout of a request that has been read. Otherwise
// net/http takes the end of that time for the end of the client.
func Unlimited(w http.ResponseWriter) {
	// It is supported by every ResponseWriter of NewServer.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// Conn is a connection that net/http is given: its socket counts against the limits.
type Conn interface {
	net.Conn
	// Admitted returns what its socket counts as.
	Admitted() *admission.Plain
}

// connKey is the key of a request's Conn in its context.
type connKey struct{}

func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// ConnOf returns the connection that a request of a NewServer came over.
func ConnOf(r *http.Request) Conn { return r.Context().Value(connKey{}).(Conn) }

// admitted answers every request of a socket over a limit with its refusal.
func admitted(config *modes.Config, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain := ConnOf(r).Admitted()
		refusal := plain.Refusal()
		if refusal == nil {
			h.ServeHTTP(w, r)
			plain.Answered()
			return
		}
		if p, ok := Endpoint(r.URL.Path, config.Echo); ok && p.OverHTTP() {
			RefuseStream(config.Admission, config.Stats, w, r, refusal)
			return
		}
		Answer(w, r, config.Stats, refusal)
	})
}

package handshake

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/tandem-ws/tandem/modes"
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
func NewServer(config *modes.Config, h http.Handler) *http.Server {
	timeout := config.Limits.HandshakeTimeout
	return &http.Server{
		Handler:           h,
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

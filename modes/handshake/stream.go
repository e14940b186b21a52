package handshake

import (
	"net/http"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// MaxDiscardedReads is how many times something may come from a client that has
// nothing more to say: behind the request that opened a stream over HTTP, or behind
// its own end. It is read and thrown away; a client that goes on is cut off.
const MaxDiscardedReads = 64

// StreamHeader returns the headers of the 200 that begins a connection of protocol
// p over HTTP. Its body ends with the TCP connection, which is all that HTTP/1.0
// knows, and nginx speaks that to its upstreams unless told otherwise.
func StreamHeader(c *admission.Controller, p wire.Protocol, host, origin string) http.Header {
	h := http.Header{
		"Content-Type":           {p.ContentType()},
		"Cache-Control":          {"no-store, no-transform"},
		"Connection":             {"close"},
		"X-Accel-Buffering":      {"no"}, // nginx must not wait until a buffer is full
		"X-Content-Type-Options": {"nosniff"},
	}
	Share(c, h, host, origin)
	return h
}

// Share adds to a response's headers those by which a browser lets scripts of
// another origin read it, if that origin is let in.
func Share(c *admission.Controller, h http.Header, host, origin string) {
	h.Add("Vary", "Origin")
	allowOrigin, allowCredentials := c.Share(host, origin)
	if allowOrigin != "" {
		h.Set("Access-Control-Allow-Origin", allowOrigin)
	}
	if allowCredentials != "" {
		h.Set("Access-Control-Allow-Credentials", allowCredentials)
	}
}

// StreamOnly answers a request for a stream over HTTP that is not a GET.
func StreamOnly(c *admission.Controller, stats *modes.Stats, w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	Share(c, h, r.Host, origin(r))
	if r.Method == http.MethodOptions {
		// A polyfill's headers make the browser ask beforehand.
		h.Set("Access-Control-Allow-Methods", http.MethodGet)
		h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Cache-Control, Last-Event-ID")
		h.Set("Access-Control-Max-Age", "3600")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.Set("Allow", http.MethodGet)
	answer(w, r, stats.Refuse(RefusedMethod))
}

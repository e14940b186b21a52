package modes

import (
	"net/http"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// RefusedBody is a request that opens a connection and brings a body, which nobody
// would read.
var RefusedBody = &Refusal{http.StatusBadRequest, "unexpected body"}

// MaxUnheard is how many times something may come from a client that has nothing
// more to say: behind the request that opened a stream over HTTP, or behind its
// own end. It is read and thrown away; whoever goes on is cut.
const MaxUnheard = 64

// StreamHeader returns the headers of the 200 that begins a connection of protocol
// p over HTTP: its body ends with the TCP connection, for that is what HTTP/1.0
// knows, which nginx speaks to what is behind it unless told otherwise.
func (d *Door) StreamHeader(p wire.Protocol, host, origin string) http.Header {
	h := http.Header{
		"Content-Type":           {p.ContentType()},
		"Cache-Control":          {"no-store, no-transform"},
		"Connection":             {"close"},
		"X-Accel-Buffering":      {"no"}, // nginx must not wait until a buffer is full
		"X-Content-Type-Options": {"nosniff"},
	}
	d.ShareWith(h, host, origin)
	return h
}

// ShareWith adds to a response's headers those by which a browser lets scripts of
// another origin read it, if the door lets that origin in (Fetch, section 3.3).
// Where any may come in, it is without credentials.
func (d *Door) ShareWith(h http.Header, host, origin string) {
	h.Add("Vary", "Origin")
	switch {
	case origin == "" || !d.allowed(host, origin):
	case d.anyone:
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// StreamOnly answers a request for a stream over HTTP that is no GET.
func (d *Door) StreamOnly(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	d.ShareWith(h, r.Host, r.Header.Get("Origin"))
	if r.Method == http.MethodOptions {
		// A polyfill's headers have the browser ask beforehand.
		h.Set("Access-Control-Allow-Methods", http.MethodGet)
		h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Cache-Control, Last-Event-ID")
		h.Set("Access-Control-Max-Age", "3600")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	refusal := d.Refuse(RefusedMethod)
	h.Set("Allow", http.MethodGet)
	http.Error(w, refusal.Error(), refusal.Status)
}

package idiomatic

import (
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// connectionHeader and upgradeHeader are those of a request in its plainest form.
// They are never written to.
var connectionHeader, upgradeHeader = []string{"Upgrade"}, []string{"websocket"}

func newUpgrader(o Options, l modes.Limits) websocket.Upgrader {
	u := websocket.Upgrader{
		HandshakeTimeout: l.HandshakeTimeout,
		// It answers with wire.DeflateResponse what negotiate leaves of an offer.
		EnableCompression: true,
		// The admission controller checks the origin.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	// Where the sizes are those of net/http's buffers, gorilla goes on with
	// them if told no size.
	if o.ReadBufferSize != defaultBufferSize {
		u.ReadBufferSize = o.ReadBufferSize
	}
	if o.WriteBufferSize != defaultBufferSize || o.WriteBufferPool {
		u.WriteBufferSize = o.WriteBufferSize
	}
	if o.WriteBufferPool {
		u.WriteBufferPool = new(sync.Pool)
	}
	return u
}

// ServeHTTP implements http.Handler: handshakes on the paths of the WebSocket
// endpoints, config.Handler's answers on all others. It returns right after the
// handshake, so that what net/http holds for a request is freed.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := socketOf(r)
	s.served.Store(true)
	s.came = modes.Now()
	p, ok := handshake.Endpoint(r.URL.Path, e.config.Echo)
	if !ok {
		e.config.Handler.ServeHTTP(w, r)
		return
	}
	if p.OverHTTP() {
		e.serveStream(w, r, p)
		return
	}
	if refusal := e.handshake(w, r, p); refusal != nil {
		handshake.Answer(w, r, e.config.Stats, refusal)
	}
}

// handshake brings a connection to life, or says why not.
func (e *Engine) handshake(w http.ResponseWriter, r *http.Request, p wire.Protocol) *admission.Refusal {
	if refusal := handshake.Check(r); refusal != nil {
		return refusal
	}
	extension, valid := e.negotiate(r)
	if !valid {
		return handshake.RefusedExtensions
	}
	var offered handshake.Subprotocols
	for _, value := range r.Header[subprotocols] {
		offered.Add([]byte(value))
	}
	p, subprotocol := handshake.Negotiate(p, offered, r.URL.RawQuery)
	var header http.Header
	if subprotocol != "" {
		header = http.Header{subprotocols: {subprotocol}}
	}
	handshake.Unlimited(w)
	c, refusal := e.enter(r, p)
	if refusal != nil {
		return refusal
	}
	// These have been found right; gorilla does not take every list for one (RFC
	// 9110 section 5.6.1).
	r.Header["Connection"], r.Header["Upgrade"] = connectionHeader, upgradeHeader
	ws, err := e.upgrader.Upgrade(hijacker{w, extension}, r, header)
	if err != nil {
		// The client is gone, or net/http would not part with it; gorilla has
		// answered.
		e.stats.Refused.WithLabelValues(modes.ReasonGone).Inc()
		c.stillborn()
		return nil
	}
	c.start(ws)
	return nil
}

// enter lets a client in and returns its connection, already a member of the
// channels that the request names, if its protocol has it so.
func (e *Engine) enter(r *http.Request, p wire.Protocol) (*connection, *admission.Refusal) {
	address, refusal := e.admit(p, r)
	if refusal != nil {
		return nil, refusal
	}
	channels, expires, refusal := e.reserve(r, p)
	if refusal != nil {
		e.release(p, address)
		return nil, refusal
	}
	c := newConnection(e, p, socketOf(r))
	c.address = address
	if !e.add(c) {
		e.release(p, address)
		for _, channel := range channels {
			e.config.Bus.Unsubscribe(channel)
		}
		return nil, handshake.RefusedDraining
	}
	c.member(channels, expires)
	return c, nil
}

// extensions is the header in which a client offers extensions. gorilla accepts
// permessage-deflate whatever its parameters are. subprotocols is the one for those.
const (
	extensions   = "Sec-Websocket-Extensions"
	subprotocols = "Sec-Websocket-Protocol"
)

// negotiate decides on permessage-deflate: it tells the socket, and leaves gorilla
// an offer to accept or none. It returns the header that accepts the offer; valid
// reports whether the request's headers obey the grammar.
func (e *Engine) negotiate(r *http.Request) (response string, valid bool) {
	valid = true
	if e.config.Compression {
		for _, value := range r.Header[extensions] {
			accepted, ok := wire.AcceptDeflate([]byte(value))
			if valid = valid && ok; response == "" {
				response = accepted
			}
		}
	}
	if r.Header.Del(extensions); response != "" {
		r.Header.Set(extensions, "permessage-deflate")
	}
	socketOf(r).frames.deflate = response != ""
	return response, valid
}

// reserve takes a reference of the bus on each channel of a request that names
// them in its query, if its tokens allow it, which they do until expires.
func (e *Engine) reserve(r *http.Request, p wire.Protocol) (channels []string, expires time.Time, refusal *admission.Refusal) {
	if !p.ByQuery() {
		return nil, time.Time{}, nil
	}
	if channels, refusal = handshake.Channels(&e.config.Rules, r.URL.RawQuery); refusal != nil {
		return nil, time.Time{}, refusal
	}
	if expires, refusal = handshake.Authorize(&e.config.Rules, r.URL.RawQuery, r.Header.Get("Authorization"), channels); refusal != nil {
		return nil, time.Time{}, refusal
	}
	if subscribeNow(r.Context(), e.config.Bus, channels) != nil {
		return nil, time.Time{}, handshake.RefusedUnavailable
	}
	return channels, expires, nil
}

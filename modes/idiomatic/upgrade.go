package idiomatic

import (
	"encoding/base64"
	"net/http"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/wire"
)

// refusedVersion is a bad handshake whose answer offers the version that would
// have been a good one.
var refusedVersion = &modes.Refusal{Status: http.StatusUpgradeRequired, Reason: modes.RefusedUpgrade.Reason}

const version = "13" // RFC 6455

// protobufHeader accepts the subprotocol. It is never written to.
var protobufHeader = http.Header{"Sec-Websocket-Protocol": {wire.ProtobufSubprotocol}}

func newUpgrader(o Options, l modes.Limits) websocket.Upgrader {
	u := websocket.Upgrader{
		HandshakeTimeout: l.HandshakeTimeout,
		// The door has looked at the origin.
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
	socketOf(r).served.Store(true)
	p, ok := e.config.Door.Endpoint(r.URL.Path)
	if !ok {
		e.config.Handler.ServeHTTP(w, r)
		return
	}
	if p.OverHTTP() {
		e.serveStream(w, r, p)
		return
	}
	if r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1) || !hasToken(r.Header["Upgrade"], "websocket") {
		e.config.Door.UpgradeRequired(w, r)
		return
	}
	if refusal := e.handshake(w, r, p); refusal != nil {
		if refusal == refusedVersion {
			w.Header().Set("Sec-WebSocket-Version", version)
		}
		http.Error(w, e.config.Door.Refuse(refusal).Error(), refusal.Status)
	}
}

// handshake brings a connection to life, or says why not.
func (e *Engine) handshake(w http.ResponseWriter, r *http.Request, p wire.Protocol) *modes.Refusal {
	if refusal := checkHandshake(r); refusal != nil {
		return refusal
	}
	p = modes.Encoding(p, r.URL.RawQuery)
	var header http.Header
	if p.Session() && hasToken(r.Header["Sec-Websocket-Protocol"], wire.ProtobufSubprotocol) {
		p = wire.Protobuf
		header = protobufHeader
	}
	channels, address, refusal := e.enter(r, p)
	if refusal != nil {
		return refusal
	}
	c, refusal := e.member(p, socketOf(r), address, channels)
	if refusal != nil {
		return refusal
	}
	ws, err := e.upgrader.Upgrade(hijacker{w}, r, header)
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

// enter lets a client in and subscribes to the channels that its request names, if
// its protocol has it so. The caller takes over what admit counts and a reference
// of the bus on each channel.
func (e *Engine) enter(r *http.Request, p wire.Protocol) (channels []string, address modes.Address, refusal *modes.Refusal) {
	if p.ByQuery() {
		if channels, refusal = e.config.Door.Channels(r.URL.RawQuery); refusal != nil {
			return nil, address, refusal
		}
	}
	if address, refusal = e.admit(p, r); refusal != nil {
		return nil, address, refusal
	}
	if len(channels) > 0 {
		ctx, cancel := subscribeContext(r.Context(), e.limits.SubscribeTimeout)
		err := subscribeAll(ctx, e.config.Bus, channels)
		cancel()
		if err != nil {
			e.release(p, address)
			return nil, address, modes.RefusedUnavailable
		}
	}
	return channels, address, nil
}

// member returns the connection for what enter has let in, already a member of its
// channels. It takes over what enter has given.
func (e *Engine) member(p wire.Protocol, s *socket, address modes.Address, channels []string) (*connection, *modes.Refusal) {
	c := newConnection(e, p, s)
	c.address = address
	if !e.add(c) {
		e.release(p, address)
		for _, channel := range channels {
			e.config.Bus.Unsubscribe(channel)
		}
		return nil, modes.RefusedDraining
	}
	c.member(channels)
	return c, nil
}

// checkHandshake applies RFC 6455 section 4.2.1, as far as net/http has not.
func checkHandshake(r *http.Request) *modes.Refusal {
	versions, keys := r.Header["Sec-Websocket-Version"], r.Header["Sec-Websocket-Key"]
	if !hasToken(r.Header["Connection"], "upgrade") || len(versions) == 0 || len(keys) != 1 {
		return modes.RefusedUpgrade
	}
	if len(versions) != 1 || versions[0] != version {
		return refusedVersion
	}
	if key, err := base64.StdEncoding.DecodeString(keys[0]); err != nil || len(key) != 16 {
		return modes.RefusedUpgrade
	}
	return nil
}

// hasToken finds a token in header values that are lists (RFC 9110 section
// 5.6.1).
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

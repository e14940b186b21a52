package modes

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Paths of the endpoints that connections come to.
const (
	PathCentrifuge = "/connection/websocket"
	PathRaw        = "/ws"
	PathEcho       = "/echo"
	PathSSE        = "/sse"
	PathStream     = "/stream"
)

// Door decides which handshakes come in. Its methods may be called
// concurrently.
type Door struct {
	rules   session.Rules
	stats   *Stats
	origins []string // lower case patterns of scheme://host, or of host alone
	anyone  bool
	echo    bool
	max     int64
	rate    *rate.Limiter // nil: no limit
	// addresses is nil where no limit holds for one address.
	addresses *addresses
	crowded   atomic.Bool // the memory limit is near
}

// DoorOptions say whom a Door lets in.
type DoorOptions struct {
	// AllowedOrigins are patterns (path.Match) of what the Origin header may
	// be, such as https://*.example.com; "*" is any. Empty: same host only.
	AllowedOrigins []string
	// Echo opens /echo.
	Echo bool
	// MaxConnections is how many connections the node takes; 0: any.
	MaxConnections int
	// ConnectRate is how many handshakes a second it takes; 0: any.
	ConnectRate int
	// ConnectionsPerAddress is how many connections one address may have,
	// ConnectRatePerAddress how many handshakes a second; 0: any.
	ConnectionsPerAddress, ConnectRatePerAddress int
	// TrustedProxies are the addresses of proxies whose word for whom they speak
	// is taken; it stands in ForwardedHeader, HeaderXForwardedFor (the default) or
	// HeaderForwarded.
	TrustedProxies  []netip.Prefix
	ForwardedHeader string
}

// ErrOriginPattern says that an AllowedOrigins pattern cannot be matched.
var ErrOriginPattern = errors.New("modes: bad origin pattern")

// NewDoor returns the door for these options.
func NewDoor(o DoorOptions, rules session.Rules, stats *Stats) (*Door, error) {
	d := &Door{rules: rules, stats: stats, echo: o.Echo, max: int64(o.MaxConnections)}
	for _, origin := range o.AllowedOrigins {
		if _, err := path.Match(origin, ""); err != nil {
			return nil, fmt.Errorf("%w: %q", ErrOriginPattern, origin)
		}
		d.anyone = d.anyone || origin == "*"
		d.origins = append(d.origins, strings.ToLower(origin))
	}
	if o.ConnectRate > 0 {
		// A burst of one second's worth, so that the limit is one of rate.
		d.rate = rate.NewLimiter(rate.Limit(o.ConnectRate), o.ConnectRate)
	}
	d.addresses = newAddresses(&o)
	return d, nil
}

// Refusal is why a handshake was not let in: what the client is answered, and
// the metrics label. It is an error.
type Refusal struct {
	Status int
	Reason string
}

// Error returns the line that the client is answered with.
func (r *Refusal) Error() string { return r.Reason }

// The refusals, other than those of the handshake's own rules.
var (
	RefusedNoEndpoint  = &Refusal{http.StatusNotFound, "no such endpoint"}
	RefusedOrigin      = &Refusal{http.StatusForbidden, "origin not allowed"}
	RefusedChannel     = &Refusal{http.StatusBadRequest, "bad or missing channel"}
	RefusedChannels    = &Refusal{http.StatusBadRequest, "too many channels"}
	RefusedFull        = &Refusal{http.StatusServiceUnavailable, "connection limit"}
	RefusedRate        = &Refusal{http.StatusServiceUnavailable, "connect rate limit"}
	RefusedDraining    = &Refusal{http.StatusServiceUnavailable, "shutting down"}
	RefusedUnavailable = &Refusal{http.StatusServiceUnavailable, "redis not available"}
	RefusedBusy        = &Refusal{http.StatusServiceUnavailable, "too busy"}
	RefusedNoUpgrade   = &Refusal{http.StatusUpgradeRequired, "websocket upgrade required"}
	RefusedMethod      = &Refusal{http.StatusMethodNotAllowed, "method not allowed"}
	RefusedUpgrade     = &Refusal{http.StatusBadRequest, "bad handshake"}
	RefusedVersion     = &Refusal{http.StatusUpgradeRequired, "bad Sec-WebSocket-Version"}
	RefusedKey         = &Refusal{http.StatusBadRequest, "bad Sec-WebSocket-Key"}
	RefusedExtensions  = &Refusal{http.StatusBadRequest, "bad Sec-WebSocket-Extensions"}
	RefusedTimeout     = &Refusal{http.StatusRequestTimeout, "handshake timeout"}
	RefusedTooLarge    = &Refusal{http.StatusRequestHeaderFieldsTooLarge, "request too large"}
)

// Refuse counts a refusal and returns it.
func (d *Door) Refuse(r *Refusal) *Refusal {
	d.stats.Refused.WithLabelValues(r.Reason).Inc()
	return r
}

// Endpoint returns the protocol spoken at a path. False: no connections come to
// it.
func (d *Door) Endpoint(path string) (wire.Protocol, bool) {
	switch path {
	case PathCentrifuge:
		return wire.JSON, true
	case PathRaw:
		return wire.Raw, true
	case PathEcho:
		return wire.Echo, d.echo
	case PathSSE:
		return wire.SSE, true
	case PathStream:
		return wire.Stream, true
	}
	return 0, false
}

// Encoding returns wire.Protobuf where p is the Centrifuge protocol and the
// request's query asks for that encoding, which clients do that cannot offer a
// subprotocol; else p.
func Encoding(p wire.Protocol, rawQuery string) wire.Protocol {
	if p != wire.JSON || rawQuery == "" {
		return p
	}
	// What of a broken query can be read counts, as with any HTTP server.
	query, _ := url.ParseQuery(rawQuery)
	if query.Get("cf_protocol") == "protobuf" || query.Get("format") == "protobuf" {
		return wire.Protobuf
	}
	return p
}

// Channels reads the channels of a connection that names them in the request's
// query, each once, in order.
func (d *Door) Channels(rawQuery string) ([]string, *Refusal) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil || len(query["channel"]) == 0 {
		return nil, RefusedChannel
	}
	var channels []string
	seen := make(map[string]bool, len(query["channel"]))
	for _, channel := range query["channel"] {
		if !d.rules.ValidChannel(channel) {
			return nil, RefusedChannel
		}
		if !seen[channel] {
			seen[channel] = true
			channels = append(channels, channel)
		}
	}
	if len(channels) > d.rules.MaxChannels {
		return nil, RefusedChannels
	}
	return channels, nil
}

// Admit decides on everything but the handshake's own rules: nil lets the
// client in. host and origin are the request's headers, origin empty where it
// has none.
func (d *Door) Admit(host, origin string) *Refusal {
	switch {
	case origin != "" && !d.allowed(host, origin):
		return RefusedOrigin
	case d.crowded.Load():
		return RefusedMemory
	case d.max > 0 && d.stats.TotalConnections() >= d.max:
		return RefusedFull
	case d.rate != nil && !d.rate.Allow():
		return RefusedRate
	}
	return nil
}

// PerAddress tells whether a limit holds for one address: whether there is
// anything to Enter.
func (d *Door) PerAddress() bool { return d.addresses != nil }

// ForwardedHeader is the canonical name of the header that Enter wants the values
// of; empty: none.
func (d *Door) ForwardedHeader() string {
	if d.addresses == nil || len(d.addresses.proxies) == 0 {
		return ""
	}
	return d.addresses.header
}

// Enter is called before Admit with the address that a handshake comes from and the
// values of its ForwardedHeader. Unless it refuses, the connection counts as one of
// the address that it returns until that is given to Leave.
func (d *Door) Enter(peer netip.Addr, forwarded []string) (Address, *Refusal) {
	if d.addresses == nil {
		return Address{}, nil
	}
	return d.addresses.enter(addressOf(d.addresses.client(peer, forwarded)), Now())
}

// EnterRequest is Enter for a request of net/http.
func (d *Door) EnterRequest(r *http.Request) (Address, *Refusal) {
	if d.addresses == nil {
		return Address{}, nil
	}
	// net/http writes what can be parsed.
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return d.Enter(peer.Addr(), r.Header[d.ForwardedHeader()])
}

// Leave ends what Enter began.
func (d *Door) Leave(a Address) {
	if a.kind != nobody {
		d.addresses.leave(a)
	}
}

// SameHost tells whether the door lets in every origin on the request's own host,
// so that a caller that has seen that it is can leave the origin out.
func (d *Door) SameHost() bool { return len(d.origins) == 0 }

// allowed checks the Origin header (RFC 6455 section 10.2).
func (d *Door) allowed(host, origin string) bool {
	if d.anyone {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if len(d.origins) == 0 {
		return strings.EqualFold(u.Host, host)
	}
	origin = strings.ToLower(origin)
	for _, pattern := range d.origins {
		// NewDoor has tried every pattern.
		if ok, _ := path.Match(pattern, origin); ok {
			return true
		}
		if ok, _ := path.Match(pattern, strings.ToLower(u.Host)); ok {
			return true
		}
	}
	return false
}

// Package admission decides which clients are let in: by their origin, their
// address, the rate of handshakes, and the memory and connections that the node has
// room for.
package admission

import (
	"net/http"
	"net/netip"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Controller decides which handshakes are let in. Its methods may be called
// concurrently.
type Controller struct {
	origins origins
	sockets sockets
	rate    *rate.Limiter // nil: no limit
	// addresses is nil unless there is a limit for one address.
	addresses *addresses
	crowded   atomic.Bool // the memory limit is near
}

// Options configure a Controller.
type Options struct {
	// AllowedOrigins are patterns (path.Match) of what the Origin header may
	// be, such as https://*.example.com; "*" is any. Empty: same host only.
	AllowedOrigins []string
	// MaxConnections is how many sockets may be open, whatever they speak and however
	// far their handshakes are; 0: any number. MaxRefused is how many more may be at a
	// time to be told that they are too many; 0: DefaultMaxRefused.
	MaxConnections, MaxRefused int
	// ConnectRate is how many handshakes a second it takes; 0: any number.
	ConnectRate int
	// ConnectionsPerAddress is how many sockets one address may have open,
	// ConnectRatePerAddress how many handshakes a second; 0: any number.
	ConnectionsPerAddress, ConnectRatePerAddress int
	// TrustedProxies are the addresses of proxies that are trusted to name the
	// client in ForwardedHeader, which is HeaderXForwardedFor (the default) or
	// HeaderForwarded.
	TrustedProxies  []netip.Prefix
	ForwardedHeader string
}

// DefaultMaxRefused is how many sockets over a limit there may be at a time.
const DefaultMaxRefused = 1024

// New returns a Controller. The error wraps ErrOriginPattern.
func New(o Options) (*Controller, error) {
	c := new(Controller)
	c.sockets.max, c.sockets.maxExcess = int64(o.MaxConnections), int64(o.MaxRefused)
	if o.MaxRefused <= 0 {
		c.sockets.maxExcess = DefaultMaxRefused
	}
	var err error
	if c.origins, err = newOrigins(o.AllowedOrigins); err != nil {
		return nil, err
	}
	if o.ConnectRate > 0 {
		// A burst of one second's worth, so that the limit is one of rate.
		c.rate = rate.NewLimiter(rate.Limit(o.ConnectRate), o.ConnectRate)
	}
	c.addresses = newAddresses(&o)
	return c, nil
}

// Admit decides on everything but the handshake's own rules; nil lets the client
// in. host and origin are the request's headers, origin is empty if it has none.
func (c *Controller) Admit(host, origin string) *Refusal {
	switch {
	case origin != "" && !c.origins.allow(host, origin):
		return RefusedOrigin
	case c.crowded.Load():
		return RefusedMemory
	case c.rate != nil && !c.rate.Allow():
		return RefusedRate
	}
	return nil
}

// PerAddress reports whether there is a limit for one address, so that Add has an
// effect.
func (c *Controller) PerAddress() bool { return c.addresses != nil }

// ForwardedHeader returns the canonical name of the header whose values Add needs;
// empty: none.
func (c *Controller) ForwardedHeader() string {
	if c.addresses == nil || len(c.addresses.proxies) == 0 {
		return ""
	}
	return c.addresses.header
}

// Add is called before Admit with the address that a handshake comes from and the
// values of its ForwardedHeader. Unless it refuses, the connection counts as one of
// the address that it returns until that is passed to Remove. Only the connections of
// a trusted proxy do; others count by their sockets.
func (c *Controller) Add(peer netip.Addr, forwarded []string) (Address, *Refusal) {
	if c.addresses == nil {
		return Address{}, nil
	}
	peer = peer.Unmap()
	return c.addresses.change(addressOf(c.addresses.client(peer, forwarded)), monotonic(), true, c.addresses.trusted(peer))
}

// AddRequest is Add for a request of net/http.
func (c *Controller) AddRequest(r *http.Request) (Address, *Refusal) {
	if c.addresses == nil {
		return Address{}, nil
	}
	// net/http writes what can be parsed.
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return c.Add(peer.Addr(), r.Header[c.ForwardedHeader()])
}

// Remove undoes Add.
func (c *Controller) Remove(a Address) {
	if a.kind != nobody {
		c.addresses.remove(a)
	}
}

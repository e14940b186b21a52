package admission

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Headers in which proxies say for whom they speak.
const (
	HeaderXForwardedFor = "X-Forwarded-For"
	HeaderForwarded     = "Forwarded" // RFC 7239
)

// maxIdleAddresses is how many addresses without a connection are remembered one
// by one; those beyond share what one address may do.
const maxIdleAddresses = 1 << 17

// Address is what the limits of one address count under: an IPv4 address, or the
// first 64 bits of an IPv6 address, for a site has all that follow. The zero
// value is nobody's.
type Address struct {
	prefix uint64
	kind   addressKind
}

type addressKind uint8

const (
	nobody addressKind = iota
	ipv4
	ipv6
	crowd // all addresses that there was no room for
)

// addressOf returns what a counts under.
func addressOf(a netip.Addr) Address {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return Address{uint64(binary.BigEndian.Uint32(b[:])), ipv4}
	}
	b := a.As16()
	return Address{binary.BigEndian.Uint64(b[:]), ipv6}
}

// addresses counts connections and handshakes by address. Its methods may be
// called concurrently.
type addresses struct {
	connections int           // that one may have; 0: any number
	interval    time.Duration // between two handshakes in the long run; 0: none
	proxies     []netip.Prefix
	header      string

	mu      sync.Mutex // guards what follows
	table   map[Address]account
	idle    int // entries without a connection
	sweepAt int // entries at which those are looked through
}

// account is what is known of one address.
type account struct {
	open int32 // connections
	// due is when the next handshake would be due if they came evenly (the
	// generic cell rate algorithm).
	due time.Duration
}

// addressBurst is how much of its rate an address may use at once.
const addressBurst = time.Second

// started is the origin of the clock that handshakes are counted on, which nobody
// can set.
var started = time.Now()

// monotonic returns the time on that clock.
func monotonic() time.Duration { return time.Since(started) }

// sweepFrom is the least size of the table at which it is swept.
const sweepFrom = 1 << 10

func newAddresses(o *Options) *addresses {
	if o.ConnectionsPerAddress <= 0 && o.ConnectRatePerAddress <= 0 {
		return nil
	}
	a := &addresses{
		connections: o.ConnectionsPerAddress, proxies: o.TrustedProxies, header: o.ForwardedHeader,
		table: make(map[Address]account), sweepAt: sweepFrom,
	}
	if a.header == "" {
		a.header = HeaderXForwardedFor
	}
	if o.ConnectRatePerAddress > 0 {
		a.interval = time.Second / time.Duration(o.ConnectRatePerAddress)
	}
	return a
}

// change counts one handshake of an address, one connection, or both. Unless it
// refuses, a connection counts until the address that it returns is removed.
func (a *addresses) change(who Address, now time.Duration, handshake, connection bool) (Address, *Refusal) {
	handshake = handshake && a.interval > 0
	connection = connection && a.connections > 0
	if !handshake && !connection {
		return Address{}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	entry, known := a.table[who]
	if !known {
		if len(a.table) >= a.sweepAt || a.idle >= maxIdleAddresses {
			a.sweep(now)
		}
		if a.idle >= maxIdleAddresses {
			who = Address{kind: crowd}
			entry, known = a.table[who]
		}
	}
	wasIdle := known && entry.open == 0
	refusal := a.charge(&entry, now, handshake, connection)
	a.table[who] = entry
	switch isIdle := entry.open == 0; {
	case isIdle && !wasIdle:
		a.idle++
	case !isIdle && wasIdle:
		a.idle--
	}
	if refusal != nil || !connection {
		return Address{}, refusal
	}
	return who, nil
}

// charge books one handshake, and the connection that comes of it.
func (a *addresses) charge(entry *account, now time.Duration, handshake, connection bool) *Refusal {
	if handshake {
		due := max(entry.due, now) + a.interval
		if due-now > max(addressBurst, a.interval) {
			return RefusedAddressRate
		}
		entry.due = due
	}
	switch {
	case !connection:
		return nil
	case int(entry.open) >= a.connections:
		return RefusedAddressFull
	}
	entry.open++
	return nil
}

func (a *addresses) remove(who Address) {
	a.mu.Lock()
	defer a.mu.Unlock()
	entry, known := a.table[who]
	if !known || entry.open == 0 {
		return
	}
	if entry.open--; entry.open > 0 {
		a.table[who] = entry
		return
	}
	if a.interval == 0 {
		delete(a.table, who)
		return
	}
	a.idle++
	a.table[who] = entry
}

// sweep forgets the addresses of which there is nothing to remember.
func (a *addresses) sweep(now time.Duration) {
	for who, entry := range a.table {
		if entry.open == 0 && entry.due <= now {
			delete(a.table, who)
			a.idle--
		}
	}
	a.sweepAt = max(sweepFrom, 2*len(a.table))
}

// client returns whose handshake it is that came from peer with these values of
// the header: the address that is furthest to the right among those that are no
// trusted proxy's, for each proxy appends whom it heard, and what stands further
// left the client may have made up.
func (a *addresses) client(peer netip.Addr, values []string) netip.Addr {
	client := peer.Unmap()
	for i := len(values) - 1; i >= 0; i-- {
		for rest, more := values[i], true; more; {
			if !a.trusted(client) {
				return client
			}
			element := rest
			at := strings.LastIndexByte(rest, ',')
			if more = at >= 0; more {
				rest, element = rest[:at], rest[at+1:]
			}
			next, ok := a.parse(element)
			if !ok {
				return client
			}
			client = next
		}
	}
	return client
}

func (a *addresses) trusted(client netip.Addr) bool {
	for _, proxy := range a.proxies {
		if proxy.Contains(client.WithZone("")) {
			return true
		}
	}
	return false
}

// parse reads one element of the header.
func (a *addresses) parse(element string) (netip.Addr, bool) {
	if a.header == HeaderForwarded {
		found := ""
		for pair := range strings.SplitSeq(element, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if strings.EqualFold(name, "for") {
				found = strings.Trim(value, `"`)
			}
		}
		element = found
	}
	element = strings.TrimSpace(element)
	if with, err := netip.ParseAddrPort(element); err == nil {
		return with.Addr().Unmap(), true
	}
	bare, err := netip.ParseAddr(strings.Trim(element, "[]"))
	return bare.Unmap(), err == nil
}

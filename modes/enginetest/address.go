package enginetest

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var addressCases = []suiteCase{
	{"address/connections", testAddressConnections},
	{"address/forwarded", testAddressForwarded},
	{"address/handshakes a second", testAddressRate},
	{"address/refused for other reasons", testAddressRefused},
}

// dialFrom is dial from a loopback address of its own.
func (n *node) dialFrom(t tester, ip string) *client {
	t.Helper()
	return n.dialWith(t, &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}})
}

// expectAddressFull sees the handshake refused, because the address has too many
// connections.
func (c *client) expectAddressFull(headers ...string) {
	c.t.Helper()
	c.write(upgrade(modes.PathEcho, headers...).bytes())
	c.expectRefusal(http.StatusTooManyRequests)
}

func (c *client) enter(headers ...string) {
	c.t.Helper()
	c.write(upgrade(modes.PathEcho, headers...).bytes())
	c.expectUpgrade("")
}

func testAddressConnections(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.admission.ConnectionsPerAddress = 2 })
	first, second := n.dial(t), n.dial(t)
	first.enter()
	second.enter()
	// The client is not configured as a proxy.
	n.dial(t).expectAddressFull("X-Forwarded-For: 192.0.2.1")
	if runtime.GOOS == "linux" { // all of 127.0.0.0/8 is local
		n.dialFrom(t, "127.0.0.2").enter()
	}
	awaitCount(t, n.stats.Refused, admission.RefusedAddressFull.Reason, 1)
	first.roundTripPing()
	first.reset()
	n.awaitDisconnects(t, modes.ReasonReset, 1)
	await(t, "room for another", func() (bool, string) {
		c := n.dial(t)
		c.write(upgrade(modes.PathEcho).bytes())
		r, _ := c.response()
		return r.StatusCode == http.StatusSwitchingProtocols, r.Status
	})
}

func testAddressForwarded(t *testing.T, build Build) {
	for header, value := range map[string]string{
		admission.HeaderXForwardedFor: "%[1]s: 203.0.113.9\r\n%[1]s: 198.51.100.7, %[2]s",
		admission.HeaderForwarded:     "%[1]s: for=198.51.100.7, for=%[2]s;proto=https",
	} {
		t.Run(header, func(t *testing.T) {
			n := start(t, build, func(s *setup) {
				s.admission.ConnectionsPerAddress = 1
				s.admission.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				s.admission.ForwardedHeader = header
			})
			of := func(address string) string { return fmt.Sprintf(value, header, address) }
			n.dial(t).enter(of("192.0.2.1"))
			n.dial(t).enter(of("192.0.2.2"))
			n.dial(t).expectAddressFull(of("192.0.2.1"))
			n.dial(t).enter()
			n.dial(t).expectAddressFull()
		})
	}
}

func testAddressRate(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.admission.ConnectRatePerAddress = 1
		s.admission.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	for _, address := range []string{"2001:db8::1", "192.0.2.1"} {
		refused := 0
		for range 3 {
			c := n.dial(t)
			c.write(upgrade(modes.PathEcho, "X-Forwarded-For: "+address).bytes())
			if r, _ := c.response(); r.StatusCode == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused == 0 {
			t.Errorf("three handshakes from %s at once are taken at one a second", address)
		}
	}
	// The other half of an IPv6 address is the client's own choice.
	c := n.dial(t)
	c.write(upgrade(modes.PathEcho, "X-Forwarded-For: 2001:db8:1::1").bytes())
	c.expectUpgrade("")
}

// A handshake that comes to nothing leaves its address as it was.
func testAddressRefused(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) {
		s.admission.ConnectionsPerAddress = 1
		s.admission.AllowedOrigins = []string{"https://good.example"}
	})
	for _, test := range []struct {
		request request
		status  int
	}{
		{upgrade(modes.PathEcho, "Origin: https://bad.example"), http.StatusForbidden},
		{upgrade(modes.PathRaw), http.StatusBadRequest},
		{upgrade(modes.PathEcho).with("Sec-WebSocket-Key"), http.StatusBadRequest},
	} {
		for range 2 {
			c := n.dial(t)
			c.write(test.request.bytes())
			c.expectRefusal(test.status)
		}
	}
	release := n.bus.hold("held")
	c := n.dial(t)
	c.write(upgrade(modes.PathRaw + "?channel=held").bytes())
	n.bus.awaitWaiting(t, "held")
	n.dial(t).expectAddressFull()
	release(errRefused)
	c.expectRefusal(http.StatusServiceUnavailable)
	if got := n.connections(wire.Echo); got != 0 {
		t.Errorf("%d connections are counted", got)
	}
	await(t, "room for one", func() (bool, string) {
		c := n.dial(t)
		c.write(upgrade(modes.PathEcho).bytes())
		r, _ := c.response()
		return r.StatusCode == http.StatusSwitchingProtocols, r.Status
	})
}

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
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var addressCases = []suiteCase{
	{"address/connections", testAddressConnections},
	{"address/forwarded", testAddressForwarded},
	{"address/handshakes a second", testAddressRate},
	{"address/refused for other reasons", testAddressRefused},
}

// dialFrom is Dial from a loopback address of its own.
func dialFrom(n *kit.Node, t kit.Tester, ip string) *kit.Client {
	t.Helper()
	return n.DialWith(t, &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}})
}

func testAddressConnections(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Admission.ConnectionsPerAddress = 2 })
	first, second := n.Dial(t), n.Dial(t)
	first.Enter()
	second.Enter()
	// The client is not configured as a proxy.
	n.Dial(t).ExpectAddressFull("X-Forwarded-For: 192.0.2.1")
	if runtime.GOOS == "linux" { // all of 127.0.0.0/8 is local
		dialFrom(n, t, "127.0.0.2").Enter()
	}
	kit.AwaitCount(t, n.Stats.Refused, admission.RefusedAddressFull.Reason, 1)
	first.RoundTripPing()
	first.Reset()
	n.AwaitDisconnects(t, modes.ReasonReset, 1)
	kit.Await(t, "room for another", func() (bool, string) {
		c := n.Dial(t)
		c.Write(kit.Upgrade(modes.PathEcho).Bytes())
		r, _ := c.Response()
		return r.StatusCode == http.StatusSwitchingProtocols, r.Status
	})
}

func testAddressForwarded(t *testing.T, build kit.Build) {
	for header, value := range map[string]string{
		admission.HeaderXForwardedFor: "%[1]s: 203.0.113.9\r\n%[1]s: 198.51.100.7, %[2]s",
		admission.HeaderForwarded:     "%[1]s: for=198.51.100.7, for=%[2]s;proto=https",
	} {
		t.Run(header, func(t *testing.T) {
			n := kit.Start(t, build, func(s *kit.Setup) {
				s.Admission.ConnectionsPerAddress = 1
				s.Admission.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				s.Admission.ForwardedHeader = header
			})
			of := func(address string) string { return fmt.Sprintf(value, header, address) }
			n.Dial(t).Enter(of("192.0.2.1"))
			n.Dial(t).Enter(of("192.0.2.2"))
			n.Dial(t).ExpectAddressFull(of("192.0.2.1"))
			n.Dial(t).Enter()
			n.Dial(t).ExpectAddressFull()
		})
	}
}

func testAddressRate(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Admission.ConnectRatePerAddress = 1
		s.Admission.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	for _, address := range []string{"2001:db8::1", "192.0.2.1"} {
		refused := 0
		for range 3 {
			c := n.Dial(t)
			c.Write(kit.Upgrade(modes.PathEcho, "X-Forwarded-For: "+address).Bytes())
			if r, _ := c.Response(); r.StatusCode == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused == 0 {
			t.Errorf("three handshakes from %s at once are taken at one a second", address)
		}
	}
	// The other half of an IPv6 address is the client's own choice.
	c := n.Dial(t)
	c.Write(kit.Upgrade(modes.PathEcho, "X-Forwarded-For: 2001:db8:1::1").Bytes())
	c.ExpectUpgrade("")
}

// A handshake that comes to nothing leaves its address as it was.
func testAddressRefused(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) {
		s.Admission.ConnectionsPerAddress = 1
		s.Admission.AllowedOrigins = []string{"https://good.example"}
	})
	for _, test := range []struct {
		request kit.Request
		status  int
	}{
		{kit.Upgrade(modes.PathEcho, "Origin: https://bad.example"), http.StatusForbidden},
		{kit.Upgrade(modes.PathRaw), http.StatusBadRequest},
		{kit.Upgrade(modes.PathEcho).With("Sec-WebSocket-Key"), http.StatusBadRequest},
	} {
		for range 2 {
			c := n.Dial(t)
			c.Write(test.request.Bytes())
			c.ExpectRefusal(test.status)
		}
	}
	release := n.Bus.Hold("held")
	c := n.Dial(t)
	c.Write(kit.Upgrade(modes.PathRaw + "?channel=held").Bytes())
	n.Bus.AwaitWaiting(t, "held")
	n.Dial(t).ExpectAddressFull()
	release(kit.ErrRefused)
	c.ExpectRefusal(http.StatusServiceUnavailable)
	if got := n.Connections(wire.Echo); got != 0 {
		t.Errorf("%d connections are counted", got)
	}
	kit.Await(t, "room for one", func() (bool, string) {
		c := n.Dial(t)
		c.Write(kit.Upgrade(modes.PathEcho).Bytes())
		r, _ := c.Response()
		return r.StatusCode == http.StatusSwitchingProtocols, r.Status
	})
}

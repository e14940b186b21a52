package admission

import (
	"net/netip"
	"testing"
	"time"
)

func prefixes(t *testing.T, all ...string) (parsed []netip.Prefix) {
	t.Helper()
	for _, s := range all {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, p)
	}
	return parsed
}

func TestForwardedFor(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		peer   string
		values []string
		want   string
	}{
		"no proxy":                    {peer: "203.0.113.1", values: []string{"198.51.100.1"}, want: "203.0.113.1"},
		"proxy without header":        {peer: "10.0.0.1", want: "10.0.0.1"},
		"one proxy":                   {peer: "10.0.0.1", values: []string{"198.51.100.1"}, want: "198.51.100.1"},
		"made up on the left":         {peer: "10.0.0.1", values: []string{"192.0.2.66, 198.51.100.1"}, want: "198.51.100.1"},
		"made up trusted on the left": {peer: "10.0.0.1", values: []string{"10.9.9.9, 198.51.100.1"}, want: "198.51.100.1"},
		"two proxies":                 {peer: "10.0.0.1", values: []string{"192.0.2.66, 198.51.100.1,10.0.0.2"}, want: "198.51.100.1"},
		"two lines":                   {peer: "10.0.0.1", values: []string{"192.0.2.66, 198.51.100.1", "10.0.0.2"}, want: "198.51.100.1"},
		"proxies alone":               {peer: "10.0.0.1", values: []string{"10.0.0.3, 10.0.0.2"}, want: "10.0.0.3"},
		"no address":                  {peer: "10.0.0.1", values: []string{"198.51.100.1, unknown"}, want: "10.0.0.1"},
		"empty":                       {peer: "10.0.0.1", values: []string{""}, want: "10.0.0.1"},
		"port":                        {peer: "10.0.0.1", values: []string{"198.51.100.1:4711"}, want: "198.51.100.1"},
		"IPv6":                        {peer: "fd00::1", values: []string{"2001:db8::7"}, want: "2001:db8::7"},
		"IPv6 in brackets":            {peer: "fd00::1", values: []string{"[2001:db8::7]:4711"}, want: "2001:db8::7"},
		"mapped":                      {peer: "::ffff:10.0.0.1", values: []string{"::ffff:198.51.100.1"}, want: "198.51.100.1"},
		"Forwarded": {header: HeaderForwarded, peer: "10.0.0.1",
			values: []string{`for=192.0.2.66, For="198.51.100.1:4711";proto=https;by=10.0.0.1`}, want: "198.51.100.1"},
		"Forwarded, IPv6":       {header: HeaderForwarded, peer: "10.0.0.1", values: []string{`for="[2001:db8::7]:4711"`}, want: "2001:db8::7"},
		"Forwarded, hidden":     {header: HeaderForwarded, peer: "10.0.0.1", values: []string{"for=_hidden"}, want: "10.0.0.1"},
		"Forwarded, without":    {header: HeaderForwarded, peer: "10.0.0.1", values: []string{"proto=https"}, want: "10.0.0.1"},
		"Forwarded, open quote": {header: HeaderForwarded, peer: "10.0.0.1", values: []string{`for="a,for=198.51.100.1`}, want: "198.51.100.1"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAddresses(&Options{ConnectionsPerAddress: 1, ForwardedHeader: c.header,
				TrustedProxies: prefixes(t, "10.0.0.0/8", "fd00::/8")})
			if got := a.client(netip.MustParseAddr(c.peer), c.values); got.String() != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestAddressOf(t *testing.T) {
	of := func(s string) Address { return addressOf(netip.MustParseAddr(s)) }
	if of("2001:db8::1") != of("2001:db8::ffff:1:2:3") || of("2001:db8::1") == of("2001:db8:0:1::1") {
		t.Error("IPv6 addresses do not count by their first 64 bits")
	}
	if of("192.0.2.1") == of("192.0.2.2") || of("192.0.2.1") != of("::ffff:192.0.2.1") {
		t.Error("IPv4 addresses do not count one by one")
	}
	if of("0.0.0.1") == of("::1") {
		t.Error("an IPv4 address counts as an IPv6 one")
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	d := newController(t, Options{ConnectionsPerAddress: 2})
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var held []Socket
	for range 2 {
		a, refusal, _ := d.Open(one)
		if refusal != nil {
			t.Fatal(refusal)
		}
		held = append(held, a)
	}
	if _, refusal, _ := d.Open(one); refusal != RefusedAddressFull {
		t.Errorf("the third: %v", refusal)
	}
	if _, refusal, _ := d.Open(other); refusal != nil {
		t.Errorf("another address: %v", refusal)
	}
	d.Close(held[0])
	if _, refusal, _ := d.Open(one); refusal != nil {
		t.Errorf("after one has left: %v", refusal)
	}
	d.Remove(Address{})
}

func TestConnectRatePerAddress(t *testing.T) {
	a := newAddresses(&Options{ConnectRatePerAddress: 10})
	one, now := addressOf(netip.MustParseAddr("192.0.2.1")), time.Duration(1e18)
	in := func() (n int) {
		for range 100 {
			if who, refusal := a.change(one, now, true, true); refusal == nil {
				n++
				a.remove(who)
			} else if refusal != RefusedAddressRate {
				t.Fatal(refusal)
			}
		}
		return n
	}
	if n := in(); n != 10 {
		t.Errorf("%d come in at once, want a second's worth: 10", n)
	}
	now += time.Duration(300 * time.Millisecond)
	if n := in(); n != 3 {
		t.Errorf("%d come in after 0.3 s, want 3", n)
	}
	now += time.Duration(time.Hour)
	if n := in(); n != 10 {
		t.Errorf("%d come in after a long time, want 10", n)
	}
}

// Setting the clock must not refuse an address for as long as it was set back.
func TestAddressesIgnoreTheWallClock(t *testing.T) {
	d := newController(t, Options{ConnectRatePerAddress: 1})
	one := netip.MustParseAddr("192.0.2.1")
	before := monotonic()
	who, refusal := d.Add(one, nil)
	if refusal != nil {
		t.Fatal(refusal)
	}
	defer d.Remove(who)
	if due := d.addresses.table[addressOf(one)].due; due < before || due > monotonic()+time.Duration(time.Second) {
		t.Errorf("the next handshake is due at %v on the process's monotonic clock, which shows %v", due, monotonic())
	}
}

// The table remembers no address for longer than it must, and never more than it
// has room for.
func TestAddressesAreForgotten(t *testing.T) {
	a := newAddresses(&Options{ConnectRatePerAddress: 1, ConnectionsPerAddress: 1})
	now := time.Duration(1e18)
	nth := func(i int) Address { return Address{prefix: uint64(i), kind: ipv6} }
	stay, refusal := a.change(nth(1<<40), now, true, true)
	if refusal != nil {
		t.Fatal(refusal)
	}
	for i := range 100 * sweepFrom {
		now += time.Duration(10 * time.Millisecond)
		who, refusal := a.change(nth(i), now, true, true)
		if refusal != nil {
			t.Fatal(refusal)
		}
		a.remove(who)
	}
	if len(a.table) > 2*sweepFrom || a.idle != len(a.table)-1 {
		t.Errorf("%d addresses are remembered, %d of them idle", len(a.table), a.idle)
	}
	if _, refusal := a.change(nth(1<<40), now, true, true); refusal != RefusedAddressFull {
		t.Errorf("an address that has its connection still: %v", refusal)
	}
	a.remove(stay)

	for i := range maxIdleAddresses + 100 {
		who, refusal := a.change(nth(i), now, true, true)
		if refusal == nil {
			a.remove(who)
		}
	}
	if len(a.table) > maxIdleAddresses+1 {
		t.Errorf("%d addresses are remembered", len(a.table))
	}
	if _, refusal := a.change(nth(1<<41), now, true, true); refusal != RefusedAddressRate {
		t.Errorf("who there is no room for shares a rate that is used up: %v", refusal)
	}
}

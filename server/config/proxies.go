package config

import (
	"fmt"
	"net/netip"
)

// Proxies returns the networks of TRUSTED_PROXIES.
func (c *Config) Proxies() (networks []netip.Prefix, err error) {
	for _, text := range c.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			address, err := netip.ParseAddr(text)
			if err != nil || address.Zone() != "" {
				return nil, fmt.Errorf("%q is neither an address nor a network", text)
			}
			network = netip.PrefixFrom(address, address.BitLen())
		}
		// The addresses of clients are never IPv4 in IPv6.
		if inside := network.Bits() - 96; network.Addr().Is4In6() && inside >= 0 {
			network = netip.PrefixFrom(network.Addr().Unmap(), inside)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

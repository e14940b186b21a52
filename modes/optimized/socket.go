//go:build linux

package optimized

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// peerAddress returns the address that a socket is connected to; none: the socket
// is no more.
func peerAddress(fd int32) netip.Addr {
	// A socket that has lost its peer is found out where it is read or written.
	peer, _ := unix.Getpeername(int(fd))
	switch a := peer.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr).Unmap()
	}
	return netip.Addr{}
}

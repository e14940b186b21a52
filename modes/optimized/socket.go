//go:build linux

package optimized

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// writeSocket is send(2) on a non-blocking socket, without telling the
// scheduler: the call cannot block, and unix.Write's leave to take the P away
// meanwhile costs more than it ever gives (docs/measurements.md, "RawSyscall").
// write(2) does the same after a look at what kind of file it has, which is not in
// the cache where there are many: 0.2 us of 4.4. buffer is not empty.
//
// unsafe: RawSyscall6 takes addresses. buffer is kept alive by the conversion in
// the call's own argument list, as package unsafe asks (rule 4).
// BenchmarkWriteSocket compares it with unix.Write.
func writeSocket(fd int32, buffer []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(buffer))), uintptr(len(buffer)), unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// readSocket is recv(2) on a non-blocking socket, in the same way.
func readSocket(fd int32, buffer []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(buffer))), uintptr(len(buffer)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

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

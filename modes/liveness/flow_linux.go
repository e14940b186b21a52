package liveness

import "golang.org/x/sys/unix"

// ReadFlow returns the flow of a TCP socket; that of a closed one is zero.
func ReadFlow(fd int) Flow {
	// Acked first: what is acknowledged in between then counts as unacknowledged.
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return Flow{}
	}
	unacked, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return Flow{}
	}
	return Flow{Acked: info.Bytes_acked, Unacked: uint64(unacked)}
}

// Writable reports whether a socket would take bytes now.
func Writable(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 1 && poll[0].Revents&unix.POLLOUT != 0
}

//go:build !race

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Each call below takes the address of memory that is kept alive by the conversion
// in the call's own argument list, as package unsafe asks (rule 4).

// Send is send(2) of a buffer that is not empty. write(2) does the same after a
// look at what kind of file it has, which is not in the cache if there are many:
// 0.2 µs of 4.4. BenchmarkSend compares it with unix.Write.
func Send(fd int32, buffer []byte) (int, unix.Errno) {
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

// Receive is recv(2), for the same reason as Send.
func Receive(fd int32, buffer []byte) (int, unix.Errno) {
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

// Accept is accept4(2) for a non-blocking socket, without the peer's address, which
// unix.Accept4 always asks for and allocates.
func Accept(listener int) (fd int, errno unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0,
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), errno
}

// Close is close(2) of a socket that does not linger, which cannot block.
func Close(fd int32) {
	// Nothing can be done about an error.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// EpollWait is epoll_pwait(2) that does not wait: newer architectures have no
// epoll_wait. events is not empty. BenchmarkPoll compares it with unix.EpollWait.
func EpollWait(epoll int, events []unix.EpollEvent) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	return int(n), errno
}

// EpollControl is epoll_ctl(2), which cannot block and is made for every
// connection.
func EpollControl(epoll, op, fd int, event *unix.EpollEvent) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(event)), 0, 0)
	return errno
}

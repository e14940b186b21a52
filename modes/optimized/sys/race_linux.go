//go:build race

package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Send is write(2), which the race detector is told of.
func Send(fd int32, buffer []byte) (int, unix.Errno) {
	for {
		if n, errno := result(unix.Write(int(fd), buffer)); errno != unix.EINTR {
			return n, errno
		}
	}
}

// Receive is read(2), which the race detector is told of.
func Receive(fd int32, buffer []byte) (int, unix.Errno) {
	for {
		if n, errno := result(unix.Read(int(fd), buffer)); errno != unix.EINTR {
			return n, errno
		}
	}
}

// Accept is accept4(2) for a non-blocking socket.
func Accept(listener int) (fd int, errno unix.Errno) {
	fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return result(fd, err)
}

// Close is close(2).
func Close(fd int32) {
	// Nothing can be done about an error.
	_ = unix.Close(int(fd))
}

// EpollWait is epoll_wait(2) that does not wait.
func EpollWait(epoll int, events []unix.EpollEvent) (int, unix.Errno) {
	return result(unix.EpollWait(epoll, events, 0))
}

// EpollControl is epoll_ctl(2).
func EpollControl(epoll, op, fd int, event *unix.EpollEvent) unix.Errno {
	_, errno := result(0, unix.EpollCtl(epoll, op, fd, event))
	return errno
}

// result turns an error of package unix into the number that it is.
func result(n int, err error) (int, unix.Errno) {
	var errno unix.Errno
	if err == nil || !errors.As(err, &errno) {
		return n, 0
	}
	return 0, errno
}

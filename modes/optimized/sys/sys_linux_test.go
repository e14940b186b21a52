package sys

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestCalls: raw calls and those that the race detector is told of do the same.
func TestCalls(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(pair[1]) }()
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(epoll) }()
	buffer, events := make([]byte, 16), make([]unix.EpollEvent, 4)
	if _, errno := Receive(int32(pair[1]), buffer); errno != unix.EAGAIN {
		t.Errorf("receive from an empty socket: %v, want %v", errno, unix.EAGAIN)
	}
	if errno := EpollControl(epoll, unix.EPOLL_CTL_ADD, pair[1], &unix.EpollEvent{Events: unix.EPOLLIN, Fd: 7}); errno != 0 {
		t.Errorf("watch: %v", errno)
	}
	if n, errno := EpollWait(epoll, events); n != 0 || errno != 0 {
		t.Errorf("%d events, %v, before anything was sent", n, errno)
	}
	if n, errno := Send(int32(pair[0]), []byte("hello")); n != 5 || errno != 0 {
		t.Errorf("send: %d, %v", n, errno)
	}
	if n, errno := EpollWait(epoll, events); n != 1 || errno != 0 || events[0].Fd != 7 {
		t.Errorf("%d events, %v, token %d", n, errno, events[0].Fd)
	}
	if n, errno := Receive(int32(pair[1]), buffer); errno != 0 || string(buffer[:n]) != "hello" {
		t.Errorf("received %q, %v", buffer[:n], errno)
	}
	Close(int32(pair[0]))
	if n, errno := Receive(int32(pair[1]), buffer); n != 0 || errno != 0 {
		t.Errorf("receive from a socket that has ended: %d, %v", n, errno)
	}
	if _, errno := Send(int32(pair[1]), []byte("late")); errno != unix.EPIPE {
		t.Errorf("send to a socket that has ended: %v, want %v", errno, unix.EPIPE)
	}
	if _, errno := Accept(pair[1]); errno == 0 {
		t.Error("accepted from what does not listen")
	}
	if errno := EpollControl(epoll, unix.EPOLL_CTL_ADD, -1, &unix.EpollEvent{}); errno != unix.EBADF {
		t.Errorf("watch nothing: %v, want %v", errno, unix.EBADF)
	}
}

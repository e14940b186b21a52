package idiomatic

import (
	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes"
)

// watchAcknowledged has the kernel end a connection whose peer does not
// acknowledge what it is sent for as long as others have to answer a ping. Without
// it the kernel gives up after a quarter of an hour.
func (s *socket) watchAcknowledged(l *modes.Limits) {
	raw, err := s.SyscallConn()
	if err != nil || l.PingInterval == 0 {
		return
	}
	// A closed socket needs no watching.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT,
			int((l.PingInterval + l.PongTimeout).Milliseconds()))
	})
}

//go:build linux

package optimized

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes/optimized/netpoll"
)

const (
	// acceptBudget is how many sockets a loop accepts before it looks at its
	// connections again.
	acceptBudget = 64
	// cooldown is how long accepting pauses when the workers are full or
	// descriptors have run out.
	cooldown = 50 * time.Millisecond
	backlog  = 65535 // the kernel cuts it to net.core.somaxconn
)

// listen opens a listening socket for each loop on the same address: the kernel
// spreads connections over them (SO_REUSEPORT).
func listen(address string, loops int) (listeners []int, at net.Addr, err error) {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("optimized: listen: %w", err)
	}
	// SO_REUSEPORT would let a second server take half of this one's
	// connections without a word. A socket without it finds out.
	probe, err := net.ListenTCP("tcp", tcp)
	if err != nil {
		return nil, nil, fmt.Errorf("optimized: listen: %w", err)
	}
	bound, family := probe.Addr().(*net.TCPAddr), unix.AF_INET6
	if err := probe.Close(); err != nil {
		return nil, nil, fmt.Errorf("optimized: listen: %w", err)
	}
	if tcp.IP.To4() != nil {
		family = unix.AF_INET
	}
	for range loops {
		fd, err := listenTCP(family, bound)
		if err != nil {
			closeAll(listeners)
			return nil, nil, fmt.Errorf("optimized: listen on %s: %w", bound, err)
		}
		listeners = append(listeners, fd)
	}
	return listeners, bound, nil
}

func listenTCP(family int, at *net.TCPAddr) (fd int, err error) {
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) && family == unix.AF_INET6 && at.IP.IsUnspecified() {
		return listenTCP(unix.AF_INET, &net.TCPAddr{IP: net.IPv4zero, Port: at.Port})
	}
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	var address unix.Sockaddr
	if family == unix.AF_INET {
		a := &unix.SockaddrInet4{Port: at.Port}
		copy(a.Addr[:], at.IP.To4())
		address = a
	} else {
		a := &unix.SockaddrInet6{Port: at.Port}
		copy(a.Addr[:], at.IP.To16())
		if zone, err := net.InterfaceByName(at.Zone); err == nil {
			a.ZoneId = uint32(zone.Index)
		}
		address = a
	}
	// Accepted sockets inherit TCP_NODELAY, which saves a system call for each.
	// SO_KEEPALIVE is left off: pings do its work, and it arms a kernel timer for
	// every connection.
	for _, option := range [...]struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		err = errors.Join(err, unix.SetsockoptInt(fd, option.level, option.name, option.value))
	}
	if family == unix.AF_INET6 && at.IP.IsUnspecified() {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0))
	}
	if err == nil {
		err = unix.Bind(fd, address)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// accept takes the sockets that are waiting, up to its budget.
func (l *loop) accept() {
	if l.engine.pool.Overloaded() || l.engine.shakes.overloaded() {
		l.coolDown()
		return
	}
	for range acceptBudget {
		if l.listener < 0 {
			return
		}
		// Without the peer's address, which nobody asks for here.
		fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(l.listener), 0, 0,
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			l.adopt(int(fd), nil, nil)
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED:
			// That client is gone; the next may be there.
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			l.coolDown()
			return
		default:
			l.engine.Log.Error("accept failed", "loop", l.number, "error", errno)
			l.coolDown()
			return
		}
	}
	l.again = append(l.again, acceptAgain)
}

// adopt makes fd a connection of this loop. request, if any, is a handshake that
// net/http has found good, and what was sent behind it, and s its TLS, if it has that.
func (l *loop) adopt(fd int, request []byte, s *secure) {
	index, r := l.slab.take()
	r.fd, r.state = int32(fd), requesting
	if l.security != nil {
		r.state = securing
	}
	if err := l.poller.Add(fd, l.token(index, r)); err != nil {
		l.engine.Log.Error("watch a connection failed", "error", err)
		l.hurtBy(index, r, "not watched")
		l.finish()
		return
	}
	l.wheel.arm(index, l.engine.Limits.HandshakeTimeout)
	if s != nil {
		r.state, s.pipe.loop = requesting, l
		l.setSecure(index, s)
	}
	if size := headEnd(request); size > 0 {
		l.upgrade(index, r, request, size, false)
		l.flush(index, r)
		if s != nil && l.secureOf(index) == s {
			// crypto/tls may have more that came right behind.
			l.unseal(index, r, s.pipe.in)
		}
		l.finish()
	}
}

// token is what the poller knows the connection by.
func (l *loop) token(index uint32, r *record) netpoll.Token {
	return netpoll.Token{Index: index, Generation: r.generation}
}

// coolDown stops accepting for a while. Clients wait in the kernel's backlog
// meanwhile.
func (l *loop) coolDown() {
	if l.paused || l.listener < 0 {
		return
	}
	l.engine.Stats.Overloads.Inc()
	l.paused, l.resume = true, l.now.Add(cooldown)
	if err := l.poller.Remove(l.listener); err != nil {
		l.engine.Log.Error("pause accepting failed", "error", err)
	}
}

func (l *loop) resumeAccept() {
	l.paused = false
	if l.listener < 0 {
		return
	}
	if err := l.poller.Add(l.listener, listenerToken); err != nil {
		l.engine.Log.Error("resume accepting failed", "error", err)
		l.paused, l.resume = true, l.now.Add(cooldown)
	}
}

func (l *loop) closeListener() {
	if l.listener >= 0 {
		_ = unix.Close(l.listener)
		l.listener = -1
	}
}

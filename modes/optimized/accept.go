//go:build linux

package optimized

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/optimized/netpoll"
	"github.com/tandem-ws/tandem/modes/optimized/sys"
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

// listen opens a listening socket for each loop on the same address, which is
// understood as net.Listen understands it. The kernel spreads connections over them
// (SO_REUSEPORT).
func listen(address string, loops int) (listeners []int, at net.Addr, err error) {
	// SO_REUSEPORT would let a second server take half of this one's
	// connections without a word. A socket without it finds out.
	probe, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("optimized: listen: %w", err)
	}
	at = probe.Addr()
	if err := probe.Close(); err != nil {
		return nil, nil, fmt.Errorf("optimized: listen: %w", err)
	}
	for range loops {
		fd, err := listenTCP(at.String())
		if err != nil {
			closeAll(listeners)
			return nil, nil, fmt.Errorf("optimized: listen on %s: %w", at, err)
		}
		listeners = append(listeners, fd)
	}
	return listeners, at, nil
}

// listenTCP opens one listening socket.
func listenTCP(address string) (fd int, err error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		controlled := raw.Control(func(fd uintptr) {
			// Accepted sockets inherit TCP_NODELAY, which saves a system call for each.
			err = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
		})
		return errors.Join(controlled, err)
	}}
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return -1, err
	}
	// The loop has a descriptor of its own. SO_KEEPALIVE, which Go sets on what it
	// accepts itself, is left off: pings do its work, and it arms a kernel timer for
	// every connection.
	defer func() { err = errors.Join(err, listener.Close()) }()
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		return -1, err
	}
	var duplicated error
	err = raw.Control(func(own uintptr) {
		if fd, duplicated = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0); duplicated == nil {
			// Go reads the limit of the backlog from the kernel's settings, which
			// may not be visible.
			duplicated = unix.Listen(fd, backlog)
		}
	})
	return fd, errors.Join(err, duplicated)
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
		fd, errno := sys.Accept(l.listener)
		switch errno {
		case 0:
			l.admit(int32(fd))
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED:
			// That client is gone; the next may be there.
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			l.engine.Admission.EvictIdle()
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

// admit makes fd, which has been accepted, a connection of this loop if there is room.
func (l *loop) admit(fd int32) {
	var peer netip.Addr
	if l.engine.Admission.PerAddress() {
		peer = peerAddress(fd)
	}
	s, refusal, ok := l.engine.Admission.Open(peer)
	if !ok {
		l.engine.Stats.Refuse(refusal)
		// It is of no use any more.
		_ = unix.Close(int(fd))
		return
	}
	l.adopt(int(fd), counted{s, refusal}, nil)
}

// adopt makes fd a connection of this loop that counts as what it says. back is nil if
// it has just been accepted.
func (l *loop) adopt(fd int, as counted, back *handedBack) {
	index, r := l.slab.take()
	r.fd, r.state = int32(fd), requesting
	if l.security != nil {
		r.state = securing
	}
	l.sockets.put(index, as)
	if err := l.poller.Add(fd, l.token(index, r)); err != nil {
		l.engine.Log.Error("watch a connection failed", "error", err)
		l.markFailed(index, r, "not watched")
		l.reap()
		return
	}
	if wait := l.engine.Limits.HandshakeTimeout; as.refusal != nil {
		l.wheel.arm(index, min(wait, admission.RefusalTime))
	} else {
		l.wheel.arm(index, wait)
	}
	if back == nil {
		return
	}
	s := back.secure
	if r.state = requesting; s != nil {
		s.pipe.loop = l
		l.setSecure(index, s)
	}
	l.handshaker.came = modes.Now()
	l.answer(index, r, l.handshaker.load(r.fd, back.request, back.protocol), back.ahead)
	l.flush(index, r)
	if s != nil && l.secureOf(index) == s {
		// crypto/tls may have more that came right behind.
		l.unseal(index, r, s.pipe.in)
	}
	l.reap()
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

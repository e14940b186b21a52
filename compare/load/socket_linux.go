package load

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below do not block, so they need not inform the Go scheduler, which would
// cost as much as the shorter ones of them.

func readFD(fd int32, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errno
}

func writeFD(fd int32, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// watch registers (op EPOLL_CTL_ADD) or changes (EPOLL_CTL_MOD) the events of r's
// descriptor.
func (l *loop) watch(op int, r *record, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(r.index), Pad: int32(r.gen)}
	if err := unix.EpollCtl(l.epoll, op, int(r.fd), &ev); err != nil {
		return fmt.Errorf("load: epoll_ctl: %w", err)
	}
	return nil
}

// rewatch sets the events for r's state and flags.
func (l *loop) rewatch(r *record) {
	var events uint32
	if r.flags&frozen == 0 {
		events = unix.EPOLLIN
	}
	if r.flags&spilled != 0 || r.state == dialing {
		events |= unix.EPOLLOUT
	}
	if err := l.watch(unix.EPOLL_CTL_MOD, r, events); err != nil {
		l.finish(r, causeLocal, "epoll_ctl")
	}
}

// source is the source addresses of connections: count addresses from first on, in
// turn.
type source struct {
	first netip.Addr
	count int
	turn  int
	local bool // the target is on loopback, so that addresses can be chosen
}

func (s *source) next() unix.SockaddrInet4 {
	a := s.first.As4()
	n := uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	n += uint32(s.turn % s.count)
	s.turn++
	return unix.SockaddrInet4{Addr: [4]byte{a[0], byte(n >> 16), byte(n >> 8), byte(n)}}
}

// dial starts a connection that was due at time intended. A failure is counted.
func (l *loop) dial(g uint16, channel uint32, intended int64, extra flags) {
	r := l.slab.take()
	r.state, r.flags, r.group, r.channel, r.started, r.fd = dialing, extra, g, channel, intended, -1
	l.connecting++
	l.unfinished++
	if err := l.open(r); err != nil {
		l.finish(r, causeRefused, reason(err))
	}
}

// open creates r's socket and sends the request if the socket is connected already, as
// it mostly is on loopback.
func (l *loop) open(r *record) error {
	g := &l.groups[r.group]
	t := &l.targets[r.group]
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	r.fd = int32(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if g.rcvbuf > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, g.rcvbuf); err != nil {
			return err
		}
	}
	if g.segment > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, g.segment); err != nil {
			return err
		}
	}
	if err := t.connect(fd); err != nil {
		return err
	}
	l.out = g.appendRequest(l.out[:0], r.channel)
	n, errno := writeFD(r.fd, l.out)
	switch {
	case errno == 0 && n == len(l.out):
		r.state = upgrading
		return l.watch(unix.EPOLL_CTL_ADD, r, unix.EPOLLIN)
	case errno == unix.EAGAIN || errno == unix.ENOTCONN:
		return l.watch(unix.EPOLL_CTL_ADD, r, unix.EPOLLOUT)
	case errno != 0:
		return errno
	}
	return errors.New("request cut short")
}

// target is the server's address and the source addresses of connections to it.
type target struct {
	address unix.SockaddrInet4
	source  source
}

func (t *target) connect(fd int) error {
	attempts := 1
	if t.source.local {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return err
		}
		attempts = t.source.count
	}
	for {
		if t.source.local {
			from := t.source.next()
			if err := unix.Bind(fd, &from); err != nil {
				return err
			}
		}
		err := unix.Connect(fd, &t.address)
		switch {
		case err == nil || errors.Is(err, unix.EINPROGRESS):
			return nil
		case !errors.Is(err, unix.EADDRNOTAVAIL):
			return err
		}
		if attempts--; attempts == 0 {
			return err
		}
	}
}

// dialed continues after connect(2) has ended.
func (l *loop) dialed(r *record) {
	if code, err := unix.GetsockoptInt(int(r.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		if err == nil {
			err = syscall.Errno(code)
		}
		l.finish(r, causeRefused, reason(err))
		return
	}
	r.state = upgrading
	l.out = l.groups[r.group].appendRequest(l.out[:0], r.channel)
	if l.send(r, l.out) && r.flags&spilled == 0 {
		l.rewatch(r)
	}
}

const maxSpill = 4 << 20

// send writes b to r's socket and keeps what does not fit. It returns false if the
// connection has ended.
func (l *loop) send(r *record, b []byte) bool {
	if r.flags&spilled != 0 {
		if len(l.spill[r.index])+len(b) > maxSpill {
			l.finish(r, causeLocal, "output over 4 MB waiting")
			return false
		}
		l.spill[r.index] = append(l.spill[r.index], b...)
		return true
	}
	n, errno := writeFD(r.fd, b)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		n = 0
	case errno != 0:
		l.finish(r, causeReset, "")
		return false
	case n == len(b):
		return true
	}
	l.spill[r.index] = append([]byte(nil), b[n:]...)
	r.flags |= spilled
	l.rewatch(r)
	return true
}

// flush writes output that waited.
func (l *loop) flush(r *record) {
	b := l.spill[r.index]
	n, errno := writeFD(r.fd, b)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
	case errno != 0:
		l.finish(r, causeReset, "")
	case n < len(b):
		l.spill[r.index] = b[n:]
	default:
		delete(l.spill, r.index)
		r.flags &^= spilled
		l.rewatch(r)
	}
}

// readsPerEvent limits what one busy connection gets before it is the others' turn.
const readsPerEvent = 4

func (l *loop) read(r *record) {
	for range readsPerEvent {
		n, errno := readFD(r.fd, l.buf)
		switch {
		case errno == unix.EAGAIN || errno == unix.EINTR:
			return
		case errno != 0:
			l.finish(r, causeReset, "")
			return
		case n == 0:
			l.finish(r, causeEOF, "")
			return
		}
		l.now = now()
		l.count.Reads++
		l.count.Bytes += int64(n)
		if !l.received(r, l.buf[:n]) || n < len(l.buf) {
			return
		}
	}
}

// received feeds what was read and acts on the verdict. It returns false if the
// connection has ended.
func (l *loop) received(r *record, b []byte) bool {
	l.reply = l.reply[:0]
	before := r.state
	v := l.feed(r, b, l.now)
	if before == upgrading && r.state != upgrading {
		l.connecting--
		l.connected++
	}
	if v == finished {
		l.finish(r, l.cause, l.detail)
		return false
	}
	out := l.reply
	if v == upgraded {
		l.out = l.groups[r.group].appendJoin(l.out[:0], r.channel, &l.scratch)
		l.out = append(l.out, l.reply...)
		out = l.out
	}
	if r.flags&counted != 0 && r.state == joined {
		r.flags &^= counted
		l.job.pending--
		l.unfinished--
	} else if r.flags&replacement != 0 && r.state == joined {
		r.flags &^= replacement
		l.unfinished--
	}
	if len(out) == 0 {
		return true
	}
	return l.send(r, out)
}

// finish ends a connection and counts the cause.
func (l *loop) finish(r *record, cause int, detail string) {
	if cause > 0 && cause != causeNoStatus && r.state != closing {
		echo := [8]byte{finBit | opClose, maskBit | 2, mask[0], mask[1], mask[2], mask[3], byte(cause>>8) ^ mask[0], byte(cause) ^ mask[1]}
		// the server has ended the connection: whether it takes the echo is its affair
		_, _ = writeFD(r.fd, echo[:])
	}
	switch {
	case r.state == closing && cause == causeTimeout:
		l.closed["local: close not answered"]++
	case r.state == closing:
		l.closed["local"]++
	case r.flags&wasJoined == 0:
		l.failed[phases[r.state]+why(cause, detail)]++
	default:
		l.closed[why(cause, detail)]++
	}
	switch r.state {
	case dialing, upgrading:
		l.connecting--
	case joining:
		l.connected--
	case joined:
		l.connected--
		l.joinedNow--
	case closing:
		l.connected--
		l.unfinished--
	}
	if r.flags&frozen != 0 {
		l.frozen--
	}
	if r.flags&(counted|replacement) != 0 {
		l.unfinished--
	}
	if r.flags&counted != 0 {
		l.job.pending--
	}
	if r.fd >= 0 {
		_ = unix.Close(int(r.fd)) // nothing is left to be written
	}
	l.forget(r)
	if r.flags&spilled != 0 {
		delete(l.spill, r.index)
	}
	l.slab.give(r)
}

// hangUp ends a connection from this side, in one of the ways of Command.How.
func (l *loop) hangUp(r *record, how string) {
	if r.state == joining || r.state == joined {
		if how == Close && r.flags&(frozen|spilled) == 0 && !l.groups[r.group].protocol.overHTTP() {
			if r.state == joined {
				l.joinedNow--
			}
			if r.flags&(counted|replacement) != 0 {
				l.unfinished--
				if r.flags&counted != 0 {
					l.job.pending--
				}
				r.flags &^= counted | replacement
			}
			l.unfinished++
			r.state, r.started = closing, l.now+closeTime
			l.out = appendFrame(l.out[:0], opClose, []byte{1000 >> 8, 1000 & 0xff})
			l.send(r, l.out)
			return
		}
	}
	if how == Reset {
		// with no linger time, close sends a reset; failing that, it closes
		_ = unix.SetsockoptLinger(int(r.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	l.finish(r, causeLocal, "")
}

var phases = [...]string{dialing: "connect: ", upgrading: "upgrade: ", joining: "subscribe: "}

// why returns the name of a cause in the failed and closed counts.
func why(cause int, detail string) string {
	switch cause {
	case causeEOF:
		return "eof"
	case causeReset:
		return "reset"
	case causeTimeout:
		return "timeout"
	case causeLocal:
		if detail == "" {
			return "local"
		}
		return "local: " + detail
	case causeViolation:
		return "violation: " + detail
	case causeRefused:
		return detail
	}
	return strconv.Itoa(cause)
}

// reason returns the short name of a system error.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
	}
	return err.Error()
}

package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

const (
	receiveSize  = 512 << 10 // bytes, so that a burst's many frames cost one read
	eventsAtOnce = 512
	closeTime    = 5 * int64(time.Second)
	sweepEvery   = 200 * int64(time.Millisecond)

	// indexes in epoll events that do not belong to a record
	wakeIndex  = -1
	timerIndex = -2
)

// loop owns all connections of the process and runs in one goroutine. Others reach it
// only through commands.
type loop struct {
	*intake
	slab    slab
	targets []target // beside intake.groups
	spill   map[uint32][]byte
	buf     []byte
	out     []byte
	scratch []byte
	events  [eventsAtOnce]unix.EpollEvent

	epoll, wake, timer int
	armed              int64 // what timer is set to, ns since 1970, 0 none

	// commands come in; a wake follows each. answers go out.
	commands chan Command
	answers  chan<- snapshot

	now                           int64 // ns since 1970
	connecting, connected, frozen int
	unfinished                    int // records with a deadline
	sweepAt                       int64
	failed, closed                map[string]uint64

	jobs     []*job // connect commands; the first is being worked off
	job      *job
	churn    churn
	publish  publishing
	waiters  []waiter
	quitting *Command

	total    *hdrhistogram.Histogram // latency up to the last report
	reported report
	blocked  int64 // ns spent waiting for events since the last report
	awake    int64 // ns to keep looking before it sleeps
}

func now() int64 { return time.Now().UnixNano() }

func newLoop(answers chan<- snapshot) (_ *loop, err error) {
	l := &loop{
		intake:   newIntake(),
		spill:    map[uint32][]byte{},
		buf:      make([]byte, receiveSize),
		commands: make(chan Command, 64),
		answers:  answers,
		failed:   map[string]uint64{},
		closed:   map[string]uint64{},
		total:    newHistogram(),
		epoll:    -1, wake: -1, timer: -1,
	}
	defer func() {
		if err != nil {
			l.release()
		}
	}()
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("load: epoll_create: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("load: eventfd: %w", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("load: timerfd: %w", err)
	}
	for fd, index := range map[int]int32{l.wake: wakeIndex, l.timer: timerIndex} {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: index}
		if err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return nil, fmt.Errorf("load: epoll_ctl: %w", err)
		}
	}
	l.now = now()
	l.reported = l.standing()
	return l, nil
}

// release closes every descriptor.
func (l *loop) release() {
	for i := range l.slab.used {
		if r := l.slab.at(uint32(i)); r.state != unused && r.fd >= 0 {
			_ = unix.Close(int(r.fd)) // the process is done with them
		}
	}
	for _, fd := range []int{l.epoll, l.wake, l.timer} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// notify makes the loop check for commands. Any goroutine may call it while the loop
// runs.
func (l *loop) notify() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// it fails only if a wake is pending already
	_, _ = unix.Write(l.wake, one[:])
}

// run runs the loop until a quit command, or until an error makes it impossible to
// continue.
func (l *loop) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() {
		if l.awake > 0 {
			// Where that is not allowed, the thread is the less of a burden.
			_ = l.stayAwake(0)
		}
	}()
	for l.quitting == nil {
		n, err := l.wait()
		if err != nil {
			return err
		}
		l.now = now()
		for i := range l.events[:n] {
			l.event(&l.events[i])
		}
		if err := l.work(); err != nil {
			return err
		}
	}
	l.answer(*l.quitting, nil)
	return nil
}

// wait fills l.events. It sleeps only if there are none.
func (l *loop) wait() (int, error) {
	if n := l.poll(); n > 0 {
		return n, nil
	}
	before := now()
	got, err := unix.EpollWait(l.epoll, l.events[:], -1)
	l.blocked += now() - before
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("load: epoll_wait: %w", err)
	}
	return got, nil
}

// epollNow fills l.events without waiting and returns how many there are.
func (l *loop) epollNow() int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll),
		uintptr(unsafe.Pointer(&l.events[0])), eventsAtOnce, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (l *loop) event(ev *unix.EpollEvent) {
	switch ev.Fd {
	case wakeIndex:
		var b [8]byte
		_, _ = readFD(int32(l.wake), b[:]) // only resets the count
		return
	case timerIndex:
		var b [8]byte
		_, _ = readFD(int32(l.timer), b[:]) // only resets the count
		l.armed = 0
		return
	}
	r := l.slab.at(uint32(ev.Fd))
	if r.gen != uint32(ev.Pad) || r.state == unused {
		return // the connection ended earlier in this batch
	}
	if r.state == dialing {
		l.dialed(r)
		return
	}
	if ev.Events&unix.EPOLLOUT != 0 && r.flags&spilled != 0 {
		if l.flush(r); r.gen != uint32(ev.Pad) {
			return
		}
	}
	over := ev.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0
	switch {
	case r.flags&frozen != 0:
		if over {
			l.finish(r, causeReset, "")
		}
	case over || ev.Events&unix.EPOLLIN != 0:
		l.read(r)
	}
}

// work carries out commands and what is due, and sets the timer to what is due next.
func (l *loop) work() error {
	for more := true; more && l.quitting == nil; {
		select {
		case c := <-l.commands:
			l.command(c)
		default:
			more = false
		}
	}
	// sweep is last: it must see the connections just started
	next := min(l.connectDue(), l.churnDue(), l.publishDue(), l.waitersDue(), l.sweep())
	if next == never || next == l.armed {
		return nil
	}
	// zero would disarm the timer; what is overdue is due at once
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(next, 1))}
	if err := unix.TimerfdSettime(l.timer, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		return fmt.Errorf("load: timerfd_settime: %w", err)
	}
	l.armed = next
	return nil
}

// sweep ends connections whose handshake or close takes too long.
func (l *loop) sweep() int64 {
	if l.unfinished == 0 {
		return never
	}
	if l.now < l.sweepAt {
		return l.sweepAt
	}
	l.sweepAt = l.now + sweepEvery
	for i := range l.slab.used {
		r := l.slab.at(uint32(i))
		switch {
		case r.state == closing && r.started < l.now,
			r.flags&(counted|replacement) != 0 && r.started+l.groups[r.group].timeout < l.now:
			l.finish(r, causeTimeout, "")
		}
	}
	return l.sweepAt
}

package netpoll

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes/optimized/sys"
)

// edges is what every descriptor is watched for: changes, not states
// (EPOLLET). What was ready and was not used up is not announced again, so
// nothing has to be armed and disarmed, and the kernel does not look again at
// each descriptor that it has announced before.
const edges = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// Token tells the caller whose event it is.
type Token struct {
	Index      uint32
	Generation uint32
}

// Event is one change of a descriptor's readiness. Readable and Writable are both set when the peer is
// gone, so that the next read or write finds out why. Ended says that the stream
// has an end, behind what there is to read.
type Event struct {
	Token    Token
	Readable bool
	Writable bool
	Ended    bool
}

// Batch is how many events one Poll takes; more wait in the kernel's list, in
// order, for the next.
const Batch = 512

// Poller is one epoll instance. Add and Remove may be called concurrently; Poll belongs to one goroutine.
//
// The instance is itself watched by the Go runtime's poller, and a goroutine of
// the Poller turns its readiness into a value on Readable. So the owner waits in
// a select like any goroutine, no thread is blocked in a system call whose P the
// scheduler must take back (golang/go#76290), and waking the owner from another
// goroutine is a channel send and no write(2) to an eventfd.
type Poller struct {
	fd       int
	file     *os.File // owns fd, and keeps it in the runtime's poller
	readable chan struct{}
	stopped  chan struct{}

	raw    [Batch]unix.EpollEvent
	events [Batch]Event
}

// New returns a Poller. Close releases it.
func New() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("netpoll: epoll_create1: %w", err)
	}
	// os.NewFile puts only non-blocking descriptors into the runtime's poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("netpoll: set non-blocking: %w", err)
	}
	p := &Poller{
		fd:       fd,
		file:     os.NewFile(uintptr(fd), "epoll"),
		readable: make(chan struct{}, 1),
		stopped:  make(chan struct{}),
	}
	conn, err := p.file.SyscallConn()
	if err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("netpoll: watch the epoll instance: %w", err)
	}
	go func() {
		defer close(p.stopped)
		// The function is called once at the start and then after every edge;
		// false waits for the next one. Read ends when the file is closed.
		_ = conn.Read(func(uintptr) bool {
			select {
			case p.readable <- struct{}{}:
			default:
			}
			return false
		})
	}()
	return p, nil
}

// Close releases the epoll instance and waits for the Poller's goroutine. The
// watched descriptors stay open.
func (p *Poller) Close() error {
	err := p.file.Close()
	<-p.stopped
	return err
}

// Readable gets a value when something has become ready since the last Poll. Who
// gets a whole Batch polls again before he waits: there may be more.
func (p *Poller) Readable() <-chan struct{} { return p.readable }

// Poll returns what is ready now, without waiting. The slice is valid until the
// next Poll.
func (p *Poller) Poll() ([]Event, error) {
	n, errno := sys.EpollWait(p.fd, p.raw[:])
	if errno != 0 {
		if errno == unix.EINTR {
			return nil, nil
		}
		return nil, fmt.Errorf("netpoll: epoll_wait: %w", errno)
	}
	for i := range n {
		raw := &p.raw[i]
		gone := raw.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0
		p.events[i] = Event{
			Token:    Token{uint32(raw.Fd), uint32(raw.Pad)},
			Readable: gone || raw.Events&unix.EPOLLIN != 0,
			Writable: gone || raw.Events&unix.EPOLLOUT != 0,
			Ended:    gone || raw.Events&unix.EPOLLRDHUP != 0,
		}
	}
	return p.events[:n], nil
}

// Add starts to watch fd. What it is ready for now is announced, too.
func (p *Poller) Add(fd int, t Token) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, t)
}

// Remove stops watching fd. Closing the last descriptor of a socket does the
// same.
func (p *Poller) Remove(fd int) error {
	return p.control(unix.EPOLL_CTL_DEL, fd, Token{})
}

func (p *Poller) control(op, fd int, t Token) error {
	event := unix.EpollEvent{Events: edges & math.MaxUint32, Fd: int32(t.Index), Pad: int32(t.Generation)}
	if errno := sys.EpollControl(p.fd, op, fd, &event); errno != 0 {
		return fmt.Errorf("netpoll: epoll_ctl: %w", errno)
	}
	return nil
}

package redisbus

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directConn reads from its socket without announcing the system call to the Go
// scheduler. The announcement wakes the runtime's monitor thread whenever the
// process was idle, so that at a few thousand messages a second each of them
// costs two context switches instead of one: BenchmarkReceivePaced had it at
// 33 us of CPU with net.Conn's own Read and has it at 18 us with this one. It is sound
// because the socket is non-blocking: the call returns at once, and waiting is
// left to the runtime's poller, deadlines and Close included.
//
// Unlike that of a net.Conn, Read may be called by one goroutine at a time.
type directConn struct {
	net.Conn
	raw syscall.RawConn
	try func(fd uintptr) (done bool) // c.read, bound once: a closure for each Read would be allocated

	reads  uint   // that found something
	buffer []byte // of the Read under way
	n      int
	errno  syscall.Errno
}

// readDirectly wraps conn where it is a socket.
func readDirectly(conn net.Conn) (net.Conn, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return conn, nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &directConn{Conn: conn, raw: raw}
	c.try = c.read
	return c, nil
}

func (c *directConn) Read(buffer []byte) (int, error) {
	if len(buffer) == 0 {
		return 0, nil
	}
	c.buffer = buffer
	err := c.raw.Read(c.try)
	c.buffer = nil
	switch {
	case err != nil:
		return 0, err
	case c.errno != 0:
		return 0, &net.OpError{
			Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: os.NewSyscallError("recvfrom", c.errno),
		}
	case c.n == 0:
		return 0, io.EOF
	}
	return c.n, nil
}

// read tries once. It returns false to be called again when there is something
// to read.
func (c *directConn) read(fd uintptr) (done bool) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&c.buffer[0])), uintptr(len(c.buffer)), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return false
		}
		c.n, c.errno = int(n), errno
		c.delayAcks(fd)
		return true
	}
}

// ackInterval is after how many reads the kernel is told once more to delay
// acknowledgements.
const ackInterval = 16

// delayAcks keeps the kernel from answering each publication with a segment that
// says nothing but that it has arrived: a walk down and up the whole network
// stack for each read (tcp_cleanup_rbuf), 3 us or so of the 28 that a message costs
// that wakes the process up. The acknowledgement goes out with the next command, for
// every second message, or after 40 ms, as on any connection that
// is used for questions and answers; Redis sends without Nagle's algorithm and does
// not wait for it. The kernel falls back when 40 ms pass without anything else,
// hence the repetition. See tcp(7), TCP_QUICKACK.
func (c *directConn) delayAcks(fd uintptr) {
	if c.reads++; c.reads%ackInterval != 1 {
		return
	}
	off := int32(0)
	// It fails on a Unix socket, which has nothing to acknowledge.
	_, _, _ = syscall.RawSyscall6(unix.SYS_SETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK,
		uintptr(unsafe.Pointer(&off)), unsafe.Sizeof(off), 0)
}

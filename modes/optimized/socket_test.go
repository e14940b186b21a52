//go:build linux

package optimized

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes/optimized/sys"
)

// BenchmarkSend compares the write that the loops make with the one that
// the scheduler is told of, on TCP connections over loopback, as a fan-out makes
// them: what it costs is mostly what the runtime's monitor thread does when it
// sees calls that take long, so it is to be run with -cpu 1 beside -cpu 2.
func BenchmarkSend(b *testing.B) {
	const connections = 200
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	var ours, theirs []int
	for range connections {
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		server, err := listener.Accept()
		if err != nil {
			b.Fatal(err)
		}
		ours, theirs = append(ours, rawSocket(b, server)), append(theirs, rawSocket(b, client))
	}
	defer closeAll(ours)
	defer closeAll(theirs)
	buffer, sink := make([]byte, 180), make([]byte, 4096)
	for name, write := range map[string]func(fd int) error{
		"RawSyscall": func(fd int) error {
			if _, errno := sys.Send(int32(fd), buffer); errno != 0 {
				return errno
			}
			return nil
		},
		"Syscall": func(fd int) error {
			_, err := unix.Write(fd, buffer)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if err := write(ours[i%connections]); err != nil {
					b.Fatal(err)
				}
				if i%connections == connections-1 {
					b.StopTimer()
					for _, fd := range theirs {
						for n := len(sink); n == len(sink); {
							n, _ = unix.Read(fd, sink)
						}
					}
					b.StartTimer()
				}
			}
		})
	}
}

// rawSocket returns a non-blocking descriptor for the connection's socket, and
// closes the connection.
func rawSocket(b *testing.B, conn net.Conn) int {
	b.Helper()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		b.Fatal(err)
	}
	_ = conn.Close()
	return fd
}

package redisbus

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns both ends of a TCP connection, the first one reading directly.
func pair(t *testing.T) (direct net.Conn, peer *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if direct, err = readDirectly(conn); err != nil {
		t.Fatal(err)
	}
	if _, ok := direct.(*directConn); !ok {
		t.Fatalf("%T, want a *directConn", direct)
	}
	t.Cleanup(func() { _, _ = direct.Close(), other.Close() })
	return direct, other.(*net.TCPConn)
}

func TestDirectRead(t *testing.T) {
	direct, peer := pair(t)
	buffer := make([]byte, 3)
	if n, err := direct.Read(nil); n != 0 || err != nil {
		t.Errorf("read into nothing: %d, %v", n, err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		// Waits, for nothing has been written yet.
		if _, err := io.ReadFull(direct, buffer); err != nil || string(buffer) != "abc" {
			t.Errorf("read %q, %v", buffer, err)
		}
	}()
	if _, err := peer.Write([]byte("abcde")); err != nil {
		t.Fatal(err)
	}
	<-read
	if n, err := direct.Read(buffer); err != nil || string(buffer[:n]) != "de" {
		t.Errorf("read %q, %v", buffer[:n], err)
	}
	if err := direct.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := direct.Read(buffer); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v, want a timeout", n, err)
	}
	if err := direct.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := direct.Read(buffer); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d, %v, want EOF", n, err)
	}
}

func TestDirectReadError(t *testing.T) {
	direct, peer := pair(t)
	// Without lingering, closing sends RST.
	if err := peer.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := direct.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d, %v, want ECONNRESET", n, err)
	}
}

// TestDirectClose: Close ends a Read that waits.
func TestDirectClose(t *testing.T) {
	direct, _ := pair(t)
	failed := make(chan error, 1)
	go func() {
		_, err := direct.Read(make([]byte, 1))
		failed <- err
	}()
	if err := direct.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want net.ErrClosed", err)
	}
}

// TestDelayAcks: what is read one after the other is not acknowledged one by one.
func TestDelayAcks(t *testing.T) {
	direct, peer := pair(t)
	raw, err := direct.(*directConn).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	sent := func() (segments uint32) {
		if err := raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil {
				t.Error(err)
				return
			}
			segments = info.Segs_out
		}); err != nil {
			t.Fatal(err)
		}
		return segments
	}
	const messages = 400
	buffer := make([]byte, 100)
	before := sent()
	for range messages {
		if _, err := peer.Write(buffer); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(direct, buffer); err != nil {
			t.Fatal(err)
		}
	}
	// Every second one, and what the kernel's clock adds where the test is held up.
	if segments := sent() - before; segments > messages*3/4 {
		t.Errorf("%d segments sent for %d messages read", segments, messages)
	}
}

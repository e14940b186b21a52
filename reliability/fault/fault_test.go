package fault

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/compare/redisserver"
)

const patience = 20 * time.Second

// echo is a server that returns what it receives.
func echo(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func newLink(t *testing.T) *Link {
	t.Helper()
	addr := echo(t)
	l, err := NewLink(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn net.Conn, text string, within time.Duration) error {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(within))
	got := make([]byte, len(text))
	_, err := io.ReadFull(conn, got)
	if err == nil && string(got) != text {
		t.Fatalf("got %q, want %q", got, text)
	}
	return err
}

func TestLinkHold(t *testing.T) {
	l := newLink(t)
	conn := dial(t, l.Addr())
	say(t, conn, "one")
	if err := hear(t, conn, "one", patience); err != nil {
		t.Fatal(err)
	}
	l.Hold()
	say(t, conn, "two")
	late := dial(t, l.Addr())
	say(t, late, "new")
	for _, c := range []net.Conn{conn, late} {
		if err := hear(t, c, "xxx", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a link that is held up: %v, want silence", err)
		}
	}
	l.Heal()
	if err := hear(t, conn, "two", patience); err != nil {
		t.Errorf("after it was healed: %v", err)
	}
	if err := hear(t, late, "new", patience); err != nil {
		t.Errorf("a connection made meanwhile: %v", err)
	}
}

func TestLinkCut(t *testing.T) {
	l := newLink(t)
	conn := dial(t, l.Addr())
	say(t, conn, "one")
	if err := hear(t, conn, "one", patience); err != nil {
		t.Fatal(err)
	}
	l.Cut()
	if err := hear(t, conn, "x", patience); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that was cut: %v, want its end", err)
	}
	again := dial(t, l.Addr())
	say(t, again, "two")
	if err := hear(t, again, "two", patience); err != nil {
		t.Errorf("a new connection: %v", err)
	}
}

func TestLinkSlow(t *testing.T) {
	l := newLink(t)
	conn := dial(t, l.Addr())
	say(t, conn, "one")
	if err := hear(t, conn, "one", patience); err != nil {
		t.Fatal(err)
	}
	const by = 100 * time.Millisecond
	l.Slow(by)
	began := time.Now()
	say(t, conn, "two")
	if err := hear(t, conn, "two", patience); err != nil {
		t.Fatal(err)
	}
	// there and back
	if took := time.Since(began); took < 2*by {
		t.Errorf("a slow link took %v, want %v or more", took, 2*by)
	}
}

func TestRedis(t *testing.T) {
	r, err := redisserver.Start(redisserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Stop(3 * time.Second); err != nil {
			t.Error(err)
		}
	}()
	addr := r.Addr()
	ask := func(within time.Duration) error {
		conn := dial(t, addr)
		say(t, conn, "PING\r\n")
		return hear(t, conn, "+PONG", within)
	}
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	// the signal takes effect a moment after it is sent
	for began := time.Now(); !errors.Is(ask(50*time.Millisecond), os.ErrDeadlineExceeded); {
		if time.Since(began) > patience {
			t.Fatal("a paused Redis goes on answering")
		}
	}
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := ask(patience); err != nil {
		t.Errorf("after it went on: %v", err)
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a killed Redis: %v, want refusal", err)
	}
	if err := r.Restart(); err != nil {
		t.Fatal(err)
	}
	if r.Addr() != addr {
		t.Errorf("restarted on %s, want %s", r.Addr(), addr)
	}
	if err := ask(patience); err != nil {
		t.Errorf("after it was restarted: %v", err)
	}
}

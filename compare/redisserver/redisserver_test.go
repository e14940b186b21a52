package redisserver

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServer(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(s.Addr()); err != nil {
		t.Error(err)
	}
	addr := s.Addr()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := ping(addr); err == nil {
		t.Error("answers after its end")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := ping(addr); err != nil || s.Addr() != addr {
		t.Errorf("restarted at %s, was at %s: %v", s.Addr(), addr, err)
	}
	if err := s.Pause(); err != nil {
		t.Error(err)
	}
	if err := s.Stop(time.Minute); err != nil { // paused as it is
		t.Error(err)
	}
	if err := ping(addr); err == nil {
		t.Error("answers after its end")
	}
}

func TestNoServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Start(Options{}); !errors.Is(err, ErrNone) {
		t.Errorf("started: %v", err)
	}
	if _, err := Version(t.Context()); !errors.Is(err, ErrNone) {
		t.Errorf("version: %v", err)
	}
}

func TestVersion(t *testing.T) {
	if v, err := Version(t.Context()); err != nil || !strings.Contains(v, "-server ") {
		t.Errorf("%q, %v", v, err)
	}
}

// TestEmbedded: the embedded Redis answers as a real one does.
func TestEmbedded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port, ended := l.Addr().(*net.TCPAddr).Port, make(chan error, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- Serve(ctx, port) }()
	var answered error
	for began := time.Now(); time.Since(began) < startLimit; time.Sleep(10 * time.Millisecond) {
		if answered = ping(l.Addr().String()); answered == nil {
			break
		}
	}
	cancel()
	if err := <-ended; err != nil || answered != nil {
		t.Errorf("%v, %v", answered, err)
	}
}

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := Serve(context.Background(), l.Addr().(*net.TCPAddr).Port); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("port taken: %v", err)
	}
}

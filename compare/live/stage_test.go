package live

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// started is a Run in this process.
type started struct {
	t     *testing.T
	url   string
	said  *lines
	ended chan error
	end   context.CancelFunc
}

// startStage runs everything until the test ends, or until something dies.
func startStage(t *testing.T, settings Settings) *started {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &started{t: t, said: new(lines), ended: make(chan error, 1), end: cancel}
	ready := make(chan string, 1)
	go func() {
		s.ended <- Run(ctx, Options{
			Addr: "127.0.0.1:0", Server: server, Settings: settings,
			Out: s.said, Stderr: s.said, Ready: func(url string) { ready <- url },
		})
	}()
	select {
	case s.url = <-ready:
	case err := <-s.ended:
		t.Fatalf("ended at once: %v", err)
	case <-time.After(patience):
		t.Fatalf("not ready in time: %s", s.said)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// stop ends the stage and returns how it ended; nil when it had ended before.
func (s *started) stop() error {
	s.end()
	select {
	case err, more := <-s.ended:
		if more {
			close(s.ended)
		}
		return err
	case <-time.After(patience):
		s.t.Fatal("does not end")
		return nil
	}
}

// lines is a writer for several goroutines.
type lines struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

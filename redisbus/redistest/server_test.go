package redistest

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServer(t *testing.T) {
	s := Start(t, "--requirepass", "secret")
	ctx := context.Background()

	sub := s.Client().Subscribe(ctx, "news")
	defer func() { _ = sub.Close() }()
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	if n := s.Publish("news", "hello"); n != 1 {
		t.Errorf("publish reached %d clients, want 1", n)
	}
	if n := s.Subscribers("news"); n != 1 {
		t.Errorf("%d subscribers, want 1", n)
	}
	if got := s.Channels(); len(got) != 1 || got[0] != "news" {
		t.Errorf("channels %v, want [news]", got)
	}
	if n := s.Calls("publish"); n != 1 {
		t.Errorf("%d calls of publish, want 1", n)
	}
	if n := s.Calls("psubscribe"); n != 0 {
		t.Errorf("%d calls of psubscribe, want 0", n)
	}
}

func TestPauseResume(t *testing.T) {
	s := Start(t)
	ctx := context.Background()
	impatient := redis.NewClient(&redis.Options{Addr: s.Addr(), ReadTimeout: 100 * time.Millisecond, MaxRetries: -1})
	defer func() { _ = impatient.Close() }()
	s.Pause()
	var timeout net.Error
	if err := impatient.Ping(ctx).Err(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("a paused server: %v, want a timeout", err)
	}
	s.Resume()
	if err := s.Client().Ping(ctx).Err(); err != nil {
		t.Errorf("after resume: %v", err)
	}
}

func TestKillRestart(t *testing.T) {
	s := Start(t)
	ctx := context.Background()
	if err := s.Client().Set(ctx, "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	addr := s.Addr()
	s.Kill()
	if err := s.Client().Ping(ctx).Err(); err == nil {
		t.Error("a killed server answered")
	}
	s.Restart()
	if s.Addr() != addr {
		t.Errorf("address %s after restart, want %s", s.Addr(), addr)
	}
	if n, err := s.Client().Exists(ctx, "key").Result(); err != nil || n != 0 {
		t.Errorf("key survived a restart: %d, %v", n, err)
	}
	s.Pause()
	s.Stop()
	s.Stop()
}

package load

import (
	"context"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a load process's Serve in this process.
func start(t *testing.T) *Client {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	served := make(chan error, 1)
	go func() {
		err := Serve(context.Background(), inR, outW)
		_ = outW.Close()
		served <- err
	}()
	c := NewClient(inW, outR)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return c
}

func do(t *testing.T, c *Client, command Command) Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, err := c.Do(ctx, command)
	if err != nil {
		t.Fatalf("%+v: %v", command, err)
	}
	return a
}

// until asks for reports until one is as it should be.
func until(t *testing.T, c *Client, what string, ok func(Answer) bool) Answer {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		a := do(t, c, Command{Cmd: Report})
		if ok(a) {
			return a
		}
		if time.Now().After(deadline) {
			t.Fatalf("never came to %s: %+v", what, a)
		}
	}
}

// waitFor waits for a condition that another goroutine brings about.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never came to %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

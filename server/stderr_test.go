//go:build linux

package server

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/redisbus/redistest"
)

// unused returns an address that nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// launchMute starts the server with a standard error that the test does not read.
func launchMute(t *testing.T, cmd *exec.Cmd, environ ...string) *process {
	t.Helper()
	p := &process{t: t, code: make(chan int, 1), cmd: cmd, public: unused(t), internal: unused(t)}
	p.cmd.Env = append([]string{"GORACE=exitcode=66", "LOG_LEVEL=debug", "DRAIN_TIME=10ms", "EMBEDDED_REDIS_ADDR=127.0.0.1:0",
		"ADDR=" + p.public, "INTERNAL_ADDR=" + p.internal}, environ...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.cmd.Wait()
		p.code <- p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-ended
	})
	await(t, "/readyz", func() bool {
		r, err := http.Get("http://" + p.internal + "/readyz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	return p
}

// serves checks that the server does what it is for, and logs a lot, and that
// SIGTERM then drains it.
func (p *process) serves() {
	p.t.Helper()
	for range 20 {
		connect(p.t, p.public)
		// Refused handshakes are logged.
		if status, _ := ask(p.t, http.MethodGet, "http://"+p.public+"/connection/websocket", nil, ""); status == http.StatusOK {
			p.t.Fatalf("a request without an upgrade is answered %d", status)
		}
	}
	c := connect(p.t, p.public)
	c.subscribe("news")
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGUSR1)
	p.signal(syscall.SIGPIPE)
	c.subscribe("more")
	p.signal(syscall.SIGTERM)
	if code, reason := closed(p.t, c.conn, false); code != 3001 {
		p.t.Errorf("closed with %d %s, want 3001", code, reason)
	}
	if code := p.exit(); code != exitOK {
		p.t.Errorf("exit code %d, want %d", code, exitOK)
	}
}

// fullPipe returns the writing end of a pipe that holds all that it can. Nobody
// reads from it before the test ends.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	fd := int(w.Fd()) // Fd makes the file blocking, so it is called once
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{4096, 1} {
		for chunk := make([]byte, size); err == nil; {
			_, err = unix.Write(fd, chunk)
		}
		if !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		err = nil
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestStandardErrorFull: the collector of the log is stuck. Clients are served, a
// restart of Redis is recovered from, and SIGTERM drains.
func TestStandardErrorFull(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		server := redistest.Start(t)
		cmd := exec.Command(binary)
		cmd.Stderr = fullPipe(t)
		p := launchMute(t, cmd, mode, "REDIS_URL="+server.URL())
		server.Kill()
		p.awaitReady(http.StatusServiceUnavailable, "Redis")
		server.Restart()
		p.awaitReady(http.StatusOK, "ok")
		p.serves()
	})
}

// TestStandardErrorFullEmbedded: what is printed for newcomers does not wait either.
func TestStandardErrorFullEmbedded(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		cmd := exec.Command(binary)
		cmd.Stderr = fullPipe(t)
		launchMute(t, cmd, mode).serves()
	})
}

// TestStandardErrorBroken: the reader of the log ends.
func TestStandardErrorBroken(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(binary)
		cmd.Stderr = w
		_ = r.Close()
		p := launchMute(t, cmd, mode)
		_ = w.Close()
		await(t, "dropped lines to be counted", func() bool {
			_, metrics := p.get("/metrics")
			_, dropped, found := strings.Cut(metrics, "\ntandem_log_dropped_total ")
			return found && !strings.HasPrefix(dropped, "0\n")
		})
		p.serves()
	})
}

// TestStandardErrorUnusable: there is no standard error, or its disk is full.
func TestStandardErrorUnusable(t *testing.T) {
	for _, redirection := range []string{"2>&-", "2>/dev/full", ">&- 2>&- <&-"} {
		t.Run(redirection, func(t *testing.T) {
			eachMode(t, func(t *testing.T, mode string) {
				launchMute(t, exec.Command("sh", "-c", `exec "$0" `+redirection, binary), mode).serves()
			})
		})
	}
}

// TestFailureWithStandardErrorFull: what cannot start ends, even if it cannot say why.
func TestFailureWithStandardErrorFull(t *testing.T) {
	for code, environ := range map[int]string{exitUsage: "MODE=fast", exitFailed: "ADDR=203.0.113.1:80"} {
		cmd := exec.Command(binary)
		cmd.Env = []string{"INTERNAL_ADDR=127.0.0.1:0", "EMBEDDED_REDIS_ADDR=127.0.0.1:0", environ}
		cmd.Stderr = fullPipe(t)
		cmd.WaitDelay = patience
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		await(t, environ+" to end the server", func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("%s: exit code %d, want %d", environ, got, code)
		}
	}
}

// TestSignals: what other servers take for an order does not end this one, not even
// while it drains.
func TestSignals(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode, "DRAIN_TIME=10ms")
		p.awaitReady(http.StatusOK, "ok")
		for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE} {
			p.signal(s)
		}
		silent := dial(t, "ws://"+p.public+"/ws?channel=news", nil)
		p.signal(syscall.SIGTERM)
		p.awaitReady(http.StatusServiceUnavailable, "draining")
		for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGPIPE} {
			p.signal(s)
		}
		if code, _ := closed(t, silent, true); code != 3001 {
			t.Errorf("closed with %d, want 3001", code)
		}
		if code := p.exit(); code != exitOK {
			t.Errorf("exit code %d, want %d", code, exitOK)
		}
		p.awaitLog("stopped")
	})
}

// TestWatchWithStuckOutput: nobody reads what watch prints, and a signal ends it.
func TestWatchWithStuckOutput(t *testing.T) {
	p := startProcess(t, "API_KEY=k")
	p.awaitReady(http.StatusOK, "ok")
	for name, stuck := range map[string]func(*exec.Cmd, *os.File){
		"stdout": func(cmd *exec.Cmd, pipe *os.File) { cmd.Stdout = pipe },
		"stderr": func(cmd *exec.Cmd, pipe *os.File) { cmd.Stderr = pipe },
	} {
		cmd := exec.Command(binary, "watch", "news")
		cmd.Env = []string{"ADDR=" + p.public}
		stuck(cmd, fullPipe(t))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		await(t, "the client", func() bool {
			_, answer := p.post("/api/info", "k", "{}")
			return strings.Contains(answer, `"num_clients":1`)
		})
		if name == "stdout" {
			await(t, "the subscription", func() bool {
				_, answer := p.post("/api/info", "k", "{}")
				return strings.Contains(answer, `"num_subs":1`)
			})
			p.post("/api/publish", "k", `{"channel":"news","data":1}`)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		await(t, "watch to end, with its "+name+" stuck", func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
		if code := cmd.ProcessState.ExitCode(); code != exitOK {
			t.Errorf("%s: exit code %d, want %d", name, code, exitOK)
		}
		await(t, "the client to be gone", func() bool {
			_, answer := p.post("/api/info", "k", "{}")
			return strings.Contains(answer, `"num_clients":0`)
		})
	}
}

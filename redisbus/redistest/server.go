// Package redistest runs a real redis-server for tests: on a free loopback
// port, in a temporary directory, with nothing persisted, and with the faults
// that a production Redis has (killed, restarted empty, paused).
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// startTimeout bounds how long a redis-server may take until it answers PING, on a
// busy machine too.
const startTimeout = time.Minute

// Server is one redis-server process of one test. Its methods end the test when
// they fail, so they must be called on the goroutine of the test, except
// Publish, Addr and URL, which may be called from anywhere.
type Server struct {
	tb     testing.TB
	binary string
	dir    string
	port   int
	args   []string
	config string // file; empty: none

	mu     sync.Mutex // guards proc
	proc   *process
	client *redis.Client
}

// process is one life of the server: a Server has a new one after Restart.
type process struct {
	cmd    *exec.Cmd
	output *bytes.Buffer
	exited chan struct{} // closed once the process is reaped
}

// Start runs a redis-server and returns once it answers. args are added to its
// command line, such as "--requirepass", "secret". The process ends with the
// test. If redis-server is not installed, the test fails and says how to
// install it. With -short, which needs nothing but Go, the test is skipped.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	if testing.Short() {
		tb.Skip("redistest: -short leaves out what needs redis-server")
	}
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		tb.Fatal("redistest: redis-server is not installed: run `apt-get install redis-server` (macOS: `brew install redis`)")
	}
	return begin(tb, &Server{tb: tb, binary: binary, dir: tb.TempDir(), args: args})
}

// begin runs a server until the test ends.
func begin(tb testing.TB, s *Server) *Server {
	tb.Helper()
	var err error
	// Another process may take the free port before redis-server binds it.
	for attempt := 0; ; attempt++ {
		s.port = freePort(tb)
		if err = s.start(); err == nil {
			break
		}
		if attempt == 4 {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(func() {
		s.Stop()
		if s.client != nil {
			_ = s.client.Close()
		}
	})
	return s
}

// Addr is host:port of the server.
func (s *Server) Addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// URL is the redis:// URL of the server, with the password where args set one.
func (s *Server) URL() string {
	if password := s.password(); password != "" {
		return "redis://:" + password + "@" + s.Addr()
	}
	return "redis://" + s.Addr()
}

// Client is a plain go-redis client for the test's own commands. It is closed
// with the test.
func (s *Server) Client() *redis.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		s.client = redis.NewClient(&redis.Options{
			Addr:                     s.Addr(),
			Password:                 s.password(),
			Protocol:                 2,
			DisableIdentity:          true,
			MaxRetries:               -1,
			DialerRetries:            1,
			PoolSize:                 4,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
	}
	return s.client
}

// Publish publishes payload and returns how many Redis clients received it. It
// may be called from any goroutine; a failure marks the test as failed.
func (s *Server) Publish(channel, payload string) int {
	s.tb.Helper()
	n, err := s.Client().Publish(context.Background(), channel, payload).Result()
	if err != nil {
		s.tb.Errorf("redistest: publish to %q: %v", channel, err)
	}
	return int(n)
}

// Subscribers is the number of Redis clients subscribed to channel, as
// PUBSUB NUMSUB has it.
func (s *Server) Subscribers(channel string) int {
	s.tb.Helper()
	counts, err := s.Client().PubSubNumSub(context.Background(), channel).Result()
	if err != nil {
		s.tb.Fatalf("redistest: PUBSUB NUMSUB %q: %v", channel, err)
	}
	return int(counts[channel])
}

// Channels lists the channels with at least one subscriber, in no order, without
// those that nodes have for their probes.
func (s *Server) Channels() []string {
	s.tb.Helper()
	channels, err := s.Client().PubSubChannels(context.Background(), "*").Result()
	if err != nil {
		s.tb.Fatalf("redistest: PUBSUB CHANNELS: %v", err)
	}
	return slices.DeleteFunc(channels, func(channel string) bool { return strings.Contains(channel, "tandem.probe.") })
}

// Calls is how often command has been executed since the server started, as
// INFO commandstats has it. Names are in lower case.
func (s *Server) Calls(command string) int {
	s.tb.Helper()
	info, err := s.Client().Info(context.Background(), "commandstats").Result()
	if err != nil {
		s.tb.Fatalf("redistest: INFO commandstats: %v", err)
	}
	_, rest, found := strings.Cut(info, "cmdstat_"+command+":calls=")
	if !found {
		return 0
	}
	digits, _, _ := strings.Cut(rest, ",")
	n, err := strconv.Atoi(digits)
	if err != nil {
		s.tb.Fatalf("redistest: INFO commandstats: calls of %q: %v", command, err)
	}
	return n
}

// Kill ends the process as a crash does (SIGKILL) and returns once it is gone.
func (s *Server) Kill() {
	s.end(syscall.SIGKILL)
}

// Stop ends the process in an orderly way, and is harmless when it has ended.
func (s *Server) Stop() {
	s.mu.Lock()
	p := s.proc
	s.mu.Unlock()
	if p == nil {
		return
	}
	// A paused process does not act on SIGTERM before it goes on.
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	s.end(syscall.SIGTERM)
}

// Restart runs an empty server on the same port, killing the one that runs, and
// returns once it answers.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.tb.Fatal(err)
	}
}

// Pause stops the process (SIGSTOP): its sockets stay open and nothing answers.
func (s *Server) Pause() {
	s.tb.Helper()
	pid := s.signal(syscall.SIGSTOP)
	deadline := time.After(startTimeout)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !stopped(pid) {
		select {
		case <-deadline:
			s.tb.Fatalf("redistest: redis-server runs on %v after SIGSTOP", startTimeout)
		case <-tick.C:
		}
	}
}

// Resume lets a paused process go on.
func (s *Server) Resume() {
	s.tb.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig syscall.Signal) (pid int) {
	s.tb.Helper()
	s.mu.Lock()
	p := s.proc
	s.mu.Unlock()
	if p == nil {
		s.tb.Fatalf("redistest: %v: redis-server is not running", sig)
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("redistest: %v: %v", sig, err)
	}
	return p.cmd.Process.Pid
}

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	p := s.proc
	s.proc = nil
	s.mu.Unlock()
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.exited:
	case <-time.After(startTimeout):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

func (s *Server) start() error {
	p := &process{output: new(bytes.Buffer), exited: make(chan struct{})}
	var arguments []string
	if s.config != "" {
		arguments = append(arguments, s.config)
	}
	p.cmd = exec.Command(s.binary, append(append(arguments,
		"--bind", "127.0.0.1",
		"--port", strconv.Itoa(s.port),
		"--dir", s.dir,
		"--save", "",
		"--appendonly", "no",
		"--daemonize", "no",
		"--maxclients", "1000",
	), s.args...)...)
	p.cmd.Dir = s.dir
	p.cmd.Env = append(os.Environ(), "LC_ALL=C")
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	dieWithParent(p.cmd)

	started := make(chan error, 1)
	go func() {
		defer close(p.exited)
		// The parent-death signal is sent when the thread that started the
		// process ends, so that thread stays with this goroutine.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("redistest: start redis-server: %w", err)
	}
	if err := s.awaitAnswer(p); err != nil {
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("redistest: redis-server on %s: %w; its output: %s",
			s.Addr(), err, strings.TrimSpace(p.output.String()))
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
	return nil
}

// awaitAnswer asks until this very process answers; a stranger on the same port
// has another process id.
func (s *Server) awaitAnswer(p *process) error {
	deadline := time.After(startTimeout)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	pid := fmt.Sprintf("process_id:%d\r\n", p.cmd.Process.Pid)
	for {
		// go-redis logs every failed dial, so it is not asked before the port is
		// open.
		probe, err := net.DialTimeout("tcp", s.Addr(), startTimeout)
		if err == nil {
			_ = probe.Close()
			var info string
			info, err = s.Client().Info(context.Background(), "server").Result()
			if err == nil && strings.Contains(info, pid) {
				return nil
			}
		}
		select {
		case <-p.exited:
			return errors.New("it ended")
		case <-deadline:
			return fmt.Errorf("no answer within %v: %w", startTimeout, err)
		case <-tick.C:
		}
	}
}

func (s *Server) password() string {
	for i, arg := range s.args {
		if arg == "--requirepass" && i+1 < len(s.args) {
			return s.args[i+1]
		}
	}
	return ""
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("redistest: find a free port: %v", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

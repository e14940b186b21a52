// Package programtest runs a test program as the program under test, as a process of
// its own, and watches the processes and files that it leaves.
package programtest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test program behave as the program.
const asProgram = "TANDEM_TEST_AS_PROGRAM"

// IsProgram reports whether TestMain must run the program instead of the tests.
func IsProgram() bool { return os.Getenv(asProgram) != "" }

// output collects what a process writes.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *output) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *output) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Process is a run of the program.
type Process struct {
	*exec.Cmd
	Stdout, Stderr output
	Temp           string // its TMPDIR
}

// New prepares a run, with temporary files in a folder of its own.
func New(t *testing.T, args ...string) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A program that is started under nohup ignores SIGHUP, unless its parent
	// handles it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	p := &Process{Cmd: exec.Command(self, args...)}
	p.Temp = t.TempDir()
	p.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+p.Temp)
	p.Cmd.Stdout, p.Cmd.Stderr = &p.Stdout, &p.Stderr
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p
}

// Start starts a run, which ends with the test at the latest.
func Start(t *testing.T, args ...string) *Process {
	t.Helper()
	p := New(t, args...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

// Exit waits for the process to end and returns its exit code.
func (p *Process) Exit(t *testing.T) int {
	t.Helper()
	err := p.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// Until waits until ok returns true.
func Until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Children returns the processes that p has started, with their command lines.
func (p *Process) Children(t *testing.T) map[int]string {
	t.Helper()
	found := make(map[int]string)
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range entries {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(p.Process.Pid) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))) // the pattern has digits only
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		found[pid] = string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
	}
	return found
}

// Child waits for a child whose command line contains what.
func (p *Process) Child(t *testing.T, what string) (pid int) {
	t.Helper()
	Until(t, "there is a "+what, func() bool {
		for id, line := range p.Children(t) {
			if strings.Contains(line, what) {
				pid = id
			}
		}
		return pid != 0
	})
	return pid
}

// Alive reports whether there is a process with this id.
func Alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// Endings are the signals that ask a program to end.
var Endings = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// EndBy sends a signal and checks that no child and no temporary file is left.
func (p *Process) EndBy(t *testing.T, s syscall.Signal) (code int) {
	t.Helper()
	children := p.Children(t)
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	code = p.Exit(t)
	for pid, line := range children {
		if Alive(pid) {
			t.Errorf("%v: left behind: %s", s, line)
		}
	}
	left, err := filepath.Glob(filepath.Join(p.Temp, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v: left behind: %q, %v", s, left, err)
	}
	return code
}

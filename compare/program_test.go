package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
)

// asProgram has this test program behave as compare: what it measures, and its
// load processes, are then processes as in earnest.
const asProgram = "TANDEM_TEST_AS_COMPARE"

var server string // the server program, built once

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(withServer(m))
}

func withServer(m *testing.M) int {
	path, remove, err := node.Program(context.Background(), "", false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	server = path
	return m.Run()
}

// said collects what a program writes.
type said struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// program is a compare that runs.
type program struct {
	*exec.Cmd
	stdout, stderr said
}

func newProgram(t *testing.T, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{Cmd: exec.Command(self, args...)}
	p.Env = append(os.Environ(), asProgram+"=1")
	p.Cmd.Stdout, p.Cmd.Stderr = &p.stdout, &p.stderr
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p
}

// started starts it and sees to it that it ends with the test.
func started(t *testing.T, args ...string) *program {
	t.Helper()
	p := newProgram(t, args...)
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

// exit waits for its end and returns the exit code.
func (p *program) exit(t *testing.T) int {
	t.Helper()
	err := p.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// until waits until ok says true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// children are the processes that p has started, with their command lines.
func (p *program) children(t *testing.T) map[int]string {
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

// child waits for a child whose command line has what.
func (p *program) child(t *testing.T, what string) (pid int) {
	t.Helper()
	until(t, "there is a "+what, func() bool {
		for id, line := range p.children(t) {
			if strings.Contains(line, what) {
				pid = id
			}
		}
		return pid != 0
	})
	return pid
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

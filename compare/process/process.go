// Package process starts the processes of measurements on chosen CPUs, measures the
// CPU time and memory that they use, and makes sure that none is left behind.
package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	// ErrUnsupported means that this system does not provide the information.
	ErrUnsupported = errors.New("process: needs Linux")
	// ErrDied means that a process ended unexpectedly.
	ErrDied = errors.New("process: ended unexpectedly")
)

// Spec describes a process to start.
type Spec struct {
	// Name identifies the process in errors.
	Name string
	// Path of the program, its arguments without the program's name, and KEY=VALUE
	// settings in addition to the environment of this process.
	Path string
	Args []string
	Env  []string
	// Bare leaves out this process's environment except PATH, HOME and TMPDIR, so that
	// only Env can change what the process does.
	Bare bool
	// CPUs the process may run on; none means any.
	CPUs []int
	// Pipes connects Process.Stdin and Stdout to the process.
	Pipes bool
	// Stderr receives standard error and, without Pipes, standard output. If it is
	// nil, the last few KB are kept for error messages only.
	Stderr io.Writer
}

// Process is a started program. Its methods may be called by several goroutines.
type Process struct {
	// Stdin and Stdout are the pipes that Spec.Pipes asks for. The caller reads Stdout
	// to its end and closes Stdin.
	Stdin  *os.File
	Stdout *os.File

	name string
	cmd  *exec.Cmd
	tail tail

	done chan struct{} // closed when the process has ended
	err  error         // how it ended; read after done
}

// Start starts a process. On Linux it is killed when this process dies. The caller
// ends it with Stop, or waits for it with Wait.
func Start(s Spec) (*Process, error) {
	p := &Process{name: s.Name, done: make(chan struct{})}
	p.cmd = exec.Command(s.Path, s.Args...)
	p.cmd.Env = append(s.inherited(), s.Env...)
	p.cmd.Stderr = io.MultiWriter(&p.tail, orDiscard(s.Stderr))
	// grandchildren that hold standard error must not block Wait
	p.cmd.WaitDelay = 5 * time.Second
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close() // the child has its own copies
		}
	}()
	if s.Pipes {
		inR, inW, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("process: pipe for %s: %w", s.Name, err)
		}
		outR, outW, err := os.Pipe()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("process: pipe for %s: %w", s.Name, err), inR.Close(), inW.Close())
		}
		theirs = append(theirs, inR, outW)
		p.Stdin, p.Stdout = inW, outR
		p.cmd.Stdin, p.cmd.Stdout = inR, outW
	} else {
		p.cmd.Stdout = p.cmd.Stderr
	}
	if err := startOn(p.cmd, s.CPUs); err != nil {
		if s.Pipes {
			_ = p.Stdin.Close()
			_ = p.Stdout.Close()
		}
		return nil, fmt.Errorf("process: start %s: %w", s.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// inherited returns the environment that the process inherits.
func (s *Spec) inherited() []string {
	if !s.Bare {
		return os.Environ()
	}
	var kept []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			kept = append(kept, name+"="+value)
		}
	}
	return kept
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Died returns an error with the exit status and the last line of output if the
// process has ended, and nil while it runs.
func (p *Process) Died() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	how := "exit status 0"
	if p.err != nil {
		how = p.err.Error()
	}
	if said := p.tail.lastLine(); said != "" {
		return fmt.Errorf("%w: %s: %s: %s", ErrDied, p.name, how, said)
	}
	return fmt.Errorf("%w: %s: %s", ErrDied, p.name, how)
}

// Wait waits until the process has ended. It returns an error if the process failed.
func (p *Process) Wait() error {
	<-p.done
	p.closePipes()
	if p.err != nil {
		return p.Died()
	}
	return nil
}

func (p *Process) closePipes() {
	if p.Stdin != nil {
		_ = p.Stdin.Close() // closing twice is harmless
		_ = p.Stdout.Close()
	}
}

// Stop asks the process to end (SIGTERM), kills it after grace, and waits for it. It
// returns an error unless the process ended with status 0 or because of the signal.
func (p *Process) Stop(grace time.Duration) error {
	// an error means that it has ended already
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	p.closePipes()
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() &&
			(status.Signal() == syscall.SIGTERM || status.Signal() == syscall.SIGKILL) {
			return nil
		}
	}
	if p.err != nil {
		return p.Died()
	}
	return nil
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("process: signal %s: %w", p.name, err)
	}
	return nil
}

const tailSize = 4 << 10

// tail keeps the last bytes written to it.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

// Write keeps the end of b.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.TrimSpace(string(t.b))
	return s[strings.LastIndexByte(s, '\n')+1:]
}

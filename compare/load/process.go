package load

import (
	"fmt"
	"io"
	"os"

	"github.com/tandem-ws/tandem/compare/process"
)

// Process is a load process and its Client.
type Process struct {
	*Client
	*process.Process
}

// Start starts a load process on the given CPUs (none means any): this program with
// the argument "load". Its standard error goes to stderr. The caller ends it with
// Stop.
func Start(stderr io.Writer, cpus ...int) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("load: find own program: %w", err)
	}
	p, err := process.Start(process.Spec{
		Name: "load", Path: self, Args: []string{"load"}, CPUs: cpus,
		Pipes: true, Stderr: stderr,
	})
	if err != nil {
		return nil, err
	}
	return &Process{Client: NewClient(p.Stdin, p.Stdout), Process: p}, nil
}

// Stop ends the load process gracefully and waits for it.
func (p *Process) Stop() error {
	closed := p.Client.Close()
	if err := p.Process.Wait(); err != nil {
		return err
	}
	return closed
}

package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tandem-ws/tandem/compare/process"
)

// Serve runs what a process started by Start is to do: options is JSON. It writes
// the report when ctx ends.
func Serve(ctx context.Context, options string, out io.Writer) error {
	var o Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return fmt.Errorf("hostile: options: %w", err)
	}
	report, err := Run(ctx, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(report)
}

// Process is a process of hostile clients.
type Process struct {
	*process.Process
	said chan []byte // everything that it wrote, once it has ended
}

// stopLimit is how long thousands of connections may take to be closed.
const stopLimit = 30 * time.Second

// Start starts this program itself with the arguments "hostile -options JSON", at
// the lowest priority: what it takes of a CPU is what nobody else wants.
func Start(o Options, stderr io.Writer) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("hostile: find own program: %w", err)
	}
	options, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("hostile: options: %w", err)
	}
	started, err := process.Start(process.Spec{
		Name: "hostile clients", Path: "nice", Args: []string{"-n", "19", self, "hostile", "-options", string(options)},
		Pipes: true, Stderr: stderr,
	})
	if err != nil {
		return nil, err
	}
	p := &Process{Process: started, said: make(chan []byte, 1)}
	go func() {
		said, _ := io.ReadAll(p.Stdout) // it ends with the process
		p.said <- said
	}()
	return p, nil
}

// Finish ends the process and returns what it did.
func (p *Process) Finish() (Report, error) {
	err := p.Signal(os.Interrupt)
	timer := time.AfterFunc(stopLimit, func() { _ = p.Signal(os.Kill) })
	said := <-p.said
	timer.Stop()
	if err := errors.Join(err, p.Wait()); err != nil {
		return Report{}, err
	}
	var r Report
	if err := json.Unmarshal(said, &r); err != nil {
		return Report{}, fmt.Errorf("hostile: report %.100q: %w", said, err)
	}
	return r, nil
}

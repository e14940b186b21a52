package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/tandem-ws/tandem/compare/process"
)

// started is what a process writes when it begins: from then on it ends in order.
const started = "started\n"

// Serve runs what a process started by Start is to do: options is JSON. It writes
// the report when ctx ends.
func Serve(ctx context.Context, options string, out io.Writer) error {
	var o Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return fmt.Errorf("hostile: options: %w", err)
	}
	if _, err := io.WriteString(out, started); err != nil {
		return fmt.Errorf("hostile: write: %w", err)
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

// Start starts this program itself with the arguments "hostile -options JSON", and
// returns when it attacks. niceness is how much it leaves to others: with 19, what it
// takes of a CPU is what nobody else wants.
func Start(o Options, niceness int, stderr io.Writer) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("hostile: find own program: %w", err)
	}
	options, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("hostile: options: %w", err)
	}
	running, err := process.Start(process.Spec{
		Name: "hostile clients", Path: "nice", Args: []string{"-n", strconv.Itoa(niceness), self, "hostile", "-options", string(options)},
		Pipes: true, Stderr: stderr,
	})
	if err != nil {
		return nil, err
	}
	p := &Process{Process: running, said: make(chan []byte, 1)}
	// it comes, or the end of the process does
	if _, err := io.ReadFull(p.Stdout, make([]byte, len(started))); err != nil {
		return nil, errors.Join(fmt.Errorf("hostile: start: %w", err), p.Wait())
	}
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

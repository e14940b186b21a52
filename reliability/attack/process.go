package attack

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

// started is what the process writes when it is ready to be ended.
const started = "started\n"

// Serve runs an attack in a process started by Start. options is JSON. It writes the
// report when ctx ends.
func Serve(ctx context.Context, options string, out io.Writer) error {
	var o Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if _, err := io.WriteString(out, started); err != nil {
		return fmt.Errorf("attack: write: %w", err)
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
	said chan []byte // everything that it wrote, after it has ended
}

// stopLimit is how long closing thousands of connections may take.
const stopLimit = 30 * time.Second

// Start starts this program with the arguments "attack -options JSON" and returns when
// the attack has begun. With a niceness of 19 it uses only CPU that nothing else
// needs.
func Start(o Options, niceness int, stderr io.Writer) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("attack: find own program: %w", err)
	}
	options, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("attack: options: %w", err)
	}
	running, err := process.Start(process.Spec{
		Name: "hostile clients", Path: "nice", Args: []string{"-n", strconv.Itoa(niceness), self, "attack", "-options", string(options)},
		Pipes: true, Stderr: stderr,
	})
	if err != nil {
		return nil, err
	}
	p := &Process{Process: running, said: make(chan []byte, 1)}
	// it arrives, or the process ends
	if _, err := io.ReadFull(p.Stdout, make([]byte, len(started))); err != nil {
		return nil, errors.Join(fmt.Errorf("attack: start: %w", err), p.Wait())
	}
	go func() {
		said, _ := io.ReadAll(p.Stdout) // ends with the process
		p.said <- said
	}()
	return p, nil
}

// Finish ends the process and returns its report.
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
		return Report{}, fmt.Errorf("attack: report %.100q: %w", said, err)
	}
	return r, nil
}

// Package node builds and runs servers as users do, as processes with an environment,
// and reads their state.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-ws/tandem/compare/process"
)

// The modes.
const (
	Idiomatic = "idiomatic"
	Optimized = "optimized"
)

// Modes returns the modes that this system can run.
func Modes() []string {
	if runtime.GOOS == "linux" {
		return []string{Idiomatic, Optimized}
	}
	return []string{Idiomatic}
}

// ErrMode means that there is no such mode.
var ErrMode = errors.New("node: unknown mode")

// CheckModes returns ErrMode unless this system can run all of modes.
func CheckModes(modes []string) error {
	if len(modes) == 0 {
		return fmt.Errorf("%w: none is named", ErrMode)
	}
	for _, mode := range modes {
		if !slices.Contains(Modes(), mode) {
			return fmt.Errorf("%w %q: choose %s", ErrMode, mode, strings.Join(Modes(), " or "))
		}
	}
	return nil
}

// ErrNotReady means that a server was not ready in time.
var ErrNotReady = errors.New("node: not ready")

const (
	startLimit = 30 * time.Second
	askLimit   = 10 * time.Second
	probeLimit = 2 * time.Second
	maxAnswer  = 16 << 20
	// raceExit is the exit code of a program that found a data race.
	raceExit = 66
)

// Options configure a server.
type Options struct {
	// Name of the server in errors; empty means its mode.
	Name    string
	Program string
	Mode    string // empty means that Env has it
	Redis   string // host:port
	// Env are KEY=VALUE settings in addition to those that every node gets: its
	// addresses, Redis, and a log of warnings only.
	Env []string
	// Bare keeps the environment of this process from the server.
	Bare bool
	// CPUs it may run on; none means any.
	CPUs   []int
	Stderr io.Writer
	// Public and Internal are the addresses, host:port; empty means free ones.
	Public, Internal string
	// Wrap is put before the program: a shell's ulimit, for example.
	Wrap []string

	freePort func() (int, error) // nil means process.FreePort
}

// Node is a running server. Its methods may be called by several goroutines.
type Node struct {
	*process.Process
	Options Options
	client  http.Client
}

// Start starts a server and does not wait for it. The caller ends it with Stop.
func Start(o Options) (*Node, error) {
	if o.freePort == nil {
		o.freePort = process.FreePort
	}
	for _, address := range []*string{&o.Public, &o.Internal} {
		if *address != "" {
			continue
		}
		port, err := o.freePort()
		if err != nil {
			return nil, err
		}
		*address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	if o.Name == "" {
		o.Name = o.Mode + " server"
	}
	env := []string{
		"ADDR=" + o.Public, "INTERNAL_ADDR=" + o.Internal, "REDIS_URL=redis://" + o.Redis,
		"LOG_LEVEL=warn", "LOG_FORMAT=text", "GORACE=halt_on_error=1 exitcode=" + strconv.Itoa(raceExit),
	}
	if o.Mode != "" {
		env = append(env, "MODE="+o.Mode)
	}
	command := append(append([]string(nil), o.Wrap...), o.Program)
	p, err := process.Start(process.Spec{
		Name: o.Name, Path: command[0], Args: command[1:], Stderr: o.Stderr,
		Bare: o.Bare, CPUs: o.CPUs, Env: append(env, o.Env...),
	})
	if err != nil {
		return nil, err
	}
	return &Node{
		Process: p, Options: o,
		// Each request has a connection of its own, so that none is left.
		client: http.Client{Timeout: askLimit, Transport: &http.Transport{DisableKeepAlives: true}},
	}, nil
}

// attempts to start a server: another program may take a free port first.
const attempts = 3

// StartReady starts a server and waits until it is ready.
func StartReady(ctx context.Context, o Options) (n *Node, err error) {
	chosen := o.Public == "" || o.Internal == ""
	for range attempts {
		n, err = startReady(ctx, o)
		if err == nil || !chosen || !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
			break
		}
	}
	return n, err
}

func startReady(ctx context.Context, o Options) (*Node, error) {
	n, err := Start(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err = n.AwaitReady(ctx, true)
	if err == nil {
		return n, nil
	}
	if died := n.Died(); died != nil {
		err = died // whatever else has failed, this is why
	}
	_ = n.Stop(0) // the reason is known
	return nil, err
}

// Ask sends a request to the internal listener and returns the status and body of the
// response.
func (n *Node) Ask(ctx context.Context, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Options.Internal+path, nil)
	if err != nil {
		return 0, "", fmt.Errorf("node: %s: %w", path, err)
	}
	response, err := n.client.Do(request)
	if err != nil {
		return 0, "", fmt.Errorf("node: %s: %w", path, err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end, or given up
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, "", fmt.Errorf("node: %s: %w", path, err)
	}
	return response.StatusCode, string(body), nil
}

// AwaitReady waits until /readyz reports that the node is ready, or if want is false,
// that it is not.
func (n *Node) AwaitReady(ctx context.Context, want bool) error {
	for {
		// Another program that has taken the port need not answer.
		once, cancel := context.WithTimeout(ctx, probeLimit)
		status, body, err := n.Ask(once, "/readyz")
		cancel()
		if err == nil && (status == http.StatusOK) == want {
			return nil
		}
		select {
		case <-n.Done():
			return n.Died()
		case <-ctx.Done():
			return fmt.Errorf("%w: /readyz should be %t: status %d %s %w", ErrNotReady, want, status, strings.TrimSpace(body), errors.Join(err, ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Metrics reads all metrics.
func (n *Node) Metrics(ctx context.Context) (process.Metrics, error) {
	status, body, err := n.Ask(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("node: /metrics: status %d", status)
	}
	m, err := process.ParseMetrics(strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	return m, nil
}

// Collected is Metrics after a garbage collection.
func (n *Node) Collected(ctx context.Context) (process.Metrics, error) {
	// Some memory that is held by finalizers and pools is freed only by the second.
	for range 2 {
		if status, _, err := n.Ask(ctx, "/debug/pprof/heap?gc=1"); err != nil || status != http.StatusOK {
			return nil, errors.Join(err, fmt.Errorf("node: collect garbage: status %d", status))
		}
	}
	return n.Metrics(ctx)
}

// Package node runs the server as users run it, as a process with its
// environment, and asks it how it is.
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
	"time"

	"github.com/tandem-ws/tandem/compare/process"
)

// The modes.
const (
	Idiomatic = "idiomatic"
	Optimized = "optimized"
)

// Modes are those that this system can run.
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

// ErrNotReady says that a server was not ready in time.
var ErrNotReady = errors.New("node: not ready")

const (
	startLimit = 30 * time.Second
	askLimit   = 10 * time.Second
	maxAnswer  = 16 << 20
	// raceExit is the exit code of a program that found a data race.
	raceExit = 66
)

// Options say how a server is started.
type Options struct {
	Program string
	Mode    string
	Redis   string // host:port
	// Env are KEY=VALUE settings on top of those that a node gets anyway: its
	// addresses, no log below warnings.
	Env    []string
	Stderr io.Writer
	// Public and Internal are the addresses, host:port; empty: free ones.
	Public, Internal string
	// Wrap is put before the program: a shell's ulimit, for example.
	Wrap []string
}

// Node is a running server. Its methods may be called by several goroutines.
type Node struct {
	*process.Process
	Options Options
	client  http.Client
}

// Start starts a server and does not wait for it. The caller ends it with Stop.
func Start(o Options) (*Node, error) {
	for _, address := range []*string{&o.Public, &o.Internal} {
		if *address != "" {
			continue
		}
		port, err := process.FreePort()
		if err != nil {
			return nil, err
		}
		*address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	command := append(append([]string(nil), o.Wrap...), o.Program)
	p, err := process.Start(process.Spec{
		Name: o.Mode + " server", Path: command[0], Args: command[1:], Stderr: o.Stderr,
		Env: append([]string{
			"MODE=" + o.Mode, "ADDR=" + o.Public, "INTERNAL_ADDR=" + o.Internal, "REDIS_URL=redis://" + o.Redis,
			"LOG_LEVEL=warn", "LOG_FORMAT=text", "GORACE=halt_on_error=1 exitcode=" + strconv.Itoa(raceExit),
		}, o.Env...),
	})
	if err != nil {
		return nil, err
	}
	return &Node{
		Process: p, Options: o,
		// a connection of its own for each question, so that none is left
		client: http.Client{Timeout: askLimit, Transport: &http.Transport{DisableKeepAlives: true}},
	}, nil
}

// StartReady is Start, and waits until the server is ready.
func StartReady(ctx context.Context, o Options) (*Node, error) {
	n, err := Start(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := n.AwaitReady(ctx, true); err != nil {
		return nil, errors.Join(err, n.Stop(time.Second))
	}
	return n, nil
}

// Ask asks the internal listener and returns the status and the answer.
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

// AwaitReady waits until /readyz says that the node is ready, or that it is not.
func (n *Node) AwaitReady(ctx context.Context, want bool) error {
	for {
		status, body, err := n.Ask(ctx, "/readyz")
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

// Metrics asks for all metrics.
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
	// twice: finalizers and pools let go of some things only at the second
	for range 2 {
		if status, _, err := n.Ask(ctx, "/debug/pprof/heap?gc=1"); err != nil || status != http.StatusOK {
			return nil, errors.Join(err, fmt.Errorf("node: collect garbage: status %d", status))
		}
	}
	return n.Metrics(ctx)
}

package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	servernode "github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/variant"
)

// node is one server process.
type node struct {
	process  *process.Process // nil: external
	pid      int
	addr     string // of clients
	internal string // http://host:port of metrics and pprof; "": none
}

// Base returns the environment of every server that compare starts, which the
// scenario's and the variant's settings override. It has nothing of compare's own
// environment.
func Base() []string { return []string{"LOG_LEVEL=error"} }

// startNode starts a server on free ports and waits until it is ready.
func startNode(ctx context.Context, o Options, redis string) (*node, error) {
	env := append(Base(), o.Env...)
	n, err := servernode.StartReady(ctx, servernode.Options{
		Name: "server (" + o.Variant.Name + ")", Program: o.Server, Redis: redis, Env: append(env, o.Variant.Env...),
		Bare: true, CPUs: o.CPUs.Server, Stderr: o.Stderr,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: the server of variant %s does not become ready: %w", ErrRun, o.Variant.Name, err)
	}
	return &node{process: n.Process, pid: n.PID(), addr: n.Options.Public, internal: "http://" + n.Options.Internal}, nil
}

// externalNode returns a server that is already running.
func externalNode(e *variant.External) (*node, error) {
	if _, err := process.CPU(e.PID); err != nil {
		return nil, fmt.Errorf("%w: pid %d of the external server: no such process", ErrRun, e.PID)
	}
	if _, err := process.ReadMemory(e.PID); err != nil {
		return nil, fmt.Errorf("%w: pid %d of the external server: its memory cannot be read: run compare as the server's user or as root", ErrRun, e.PID)
	}
	c, err := net.DialTimeout("tcp", e.Addr, 3*time.Second)
	if err != nil {
		return nil, fmt.Errorf("%w: external server %s does not answer: %w", ErrRun, e.Addr, err)
	}
	return &node{pid: e.PID, addr: e.Addr, internal: e.Internal}, c.Close()
}

// get fetches a URL and passes its body to read. Any status but 200 is an error.
func get(ctx context.Context, client *http.Client, url string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	if err := read(response.Body); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

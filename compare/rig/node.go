package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-ws/tandem/compare/arm"
	"github.com/tandem-ws/tandem/compare/process"
)

// node is one server process.
type node struct {
	process  *process.Process // nil: external
	pid      int
	addr     string // of clients
	internal string // http://host:port of metrics and pprof; "": none
}

// Base is the environment of every server that compare starts, beneath the
// scenario's and the arm's. Nothing of compare's own environment is in it.
func Base() []string { return []string{"LOG_LEVEL=error"} }

// attempts to start a server: another program may take a free port first.
const attempts = 3

// startNode starts a server on free ports and waits until it is ready.
func startNode(ctx context.Context, client *http.Client, o Options, redis string, freePort func() (int, error)) (n *node, err error) {
	for range attempts {
		n, err = tryNode(ctx, client, o, redis, freePort)
		if err == nil || !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
			break
		}
	}
	return n, err
}

func tryNode(ctx context.Context, client *http.Client, o Options, redis string, freePort func() (int, error)) (*node, error) {
	public, err := freePort()
	if err != nil {
		return nil, err
	}
	internal, err := freePort()
	if err != nil {
		return nil, err
	}
	n := &node{
		addr:     net.JoinHostPort("127.0.0.1", strconv.Itoa(public)),
		internal: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(internal)),
	}
	env := append(Base(), o.Env...)
	env = append(env, o.Arm.Env...)
	env = append(env, "ADDR="+n.addr, "INTERNAL_ADDR="+strings.TrimPrefix(n.internal, "http://"), "REDIS_URL="+redis)
	p, err := process.Start(process.Spec{
		Name: "server (" + o.Arm.Name + ")", Path: o.Server, Env: env, Bare: true, CPUs: o.CPUs.Server, Stderr: o.Stderr,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRun, err)
	}
	n.process, n.pid = p, p.PID()
	err = poll(ctx, 15*time.Second, func() error {
		if err := p.Died(); err != nil {
			return final(err)
		}
		// whoever else may have taken the port need not answer
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return get(ctx, client, n.internal+"/readyz", func(io.Reader) error { return nil })
	})
	if err != nil {
		if died := p.Died(); died != nil {
			err = died
		}
		_ = p.Stop(0) // the reason is known
		return nil, fmt.Errorf("%w: the server of arm %s does not get ready: %w", ErrRun, o.Arm.Name, err)
	}
	return n, nil
}

// externalNode is a server that runs already.
func externalNode(e *arm.External) (*node, error) {
	if _, err := process.CPU(e.PID); err != nil {
		return nil, fmt.Errorf("%w: pid %d of the external server: there is no such process", ErrRun, e.PID)
	}
	if _, err := process.ReadMemory(e.PID); err != nil {
		return nil, fmt.Errorf("%w: pid %d of the external server: its memory may not be read: run compare as the server's user or as root", ErrRun, e.PID)
	}
	c, err := net.DialTimeout("tcp", e.Addr, 3*time.Second)
	if err != nil {
		return nil, fmt.Errorf("%w: external server %s does not answer: %w", ErrRun, e.Addr, err)
	}
	return &node{pid: e.PID, addr: e.Addr, internal: e.Internal}, c.Close()
}

// get fetches a URL and hands its body to read; an answer other than 200 is an
// error.
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

// finalError ends a poll.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func final(err error) error { return finalError{err} }

const pollEvery = 10 * time.Millisecond

// poll calls f until it returns nil, a final error, or the time is up.
func poll(ctx context.Context, limit time.Duration, f func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := f()
		var last finalError
		if err == nil || errors.As(err, &last) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-tick.C:
		}
	}
}

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/compare/process"
)

var (
	// ErrBuild means that a program could not be built.
	ErrBuild = errors.New("node: build")
	// ErrProgram means that the program that was named cannot be run.
	ErrProgram = errors.New("node: not a program")
)

const module = "github.com/tandem-ws/tandem"

// Server is the folder of the server in this module.
const Server = "."

// Build builds the server into path, with the race detector if race is set. It
// returns the cause of ctx's end if that ended it, else ErrBuild with the reason.
func Build(ctx context.Context, path string, race bool) error {
	var flags []string
	if race {
		flags = []string{"-race"}
	}
	return BuildFolder(ctx, path, Server, flags...)
}

// BuildFolder builds the program in a folder of this module, as Build does.
func BuildFolder(ctx context.Context, path, folder string, flags ...string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// Stamping the revision needs git, which not everyone has.
	args := append([]string{"build", "-buildvcs=false", "-o", path}, flags...)
	p, err := process.Start(process.Spec{Name: "go build", Path: "go", Args: append(args, module+strings.TrimPrefix(folder, "."))})
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: there is no go on the PATH: name a server that is built already with -server", ErrBuild)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBuild, err)
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		// The go command ends its compilers and removes what they wrote.
		_ = p.Signal(os.Interrupt) // an error means that it has ended
		timer := time.AfterFunc(buildGrace, func() { _ = p.Signal(os.Kill) })
		<-p.Done()
		timer.Stop()
		return context.Cause(ctx)
	}
	if err := p.Wait(); err != nil {
		return fmt.Errorf("%w: run this within Tandem's source, or name a server with -server: %w", ErrBuild, err)
	}
	return nil
}

// buildGrace is how long an interrupted build may take to end.
const buildGrace = 10 * time.Second

// Program returns the named program or, if none is named, builds the server as Build
// does in a folder of its own. The caller calls remove in the end.
func Program(ctx context.Context, named string, race bool) (path string, remove func(), err error) {
	if named != "" {
		if _, err := exec.LookPath(named); err != nil {
			return "", nil, fmt.Errorf("%w: %w", ErrProgram, err)
		}
		return named, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "tandem-node-")
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrBuild, err)
	}
	remove = func() { _ = os.RemoveAll(dir) } // nothing depends on it any more
	path = filepath.Join(dir, "server")
	if err := Build(ctx, path, race); err != nil {
		remove()
		return "", nil, err
	}
	return path, remove, nil
}

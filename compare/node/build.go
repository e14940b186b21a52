package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrBuild says that the server could not be built.
var ErrBuild = errors.New("node: build the server")

const serverPackage = "github.com/tandem-ws/tandem"

// Build builds the server into path, with the race detector where race is set. It
// returns the cause of ctx's end if that ended it, else ErrBuild with what is wrong.
func Build(ctx context.Context, path string, race bool) error {
	// a revision stamped in would need git, which not everyone has
	args := []string{"build", "-buildvcs=false", "-o", path}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.CommandContext(ctx, "go", append(args, serverPackage)...).CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%w: there is no go on the PATH: name a server that is built already with -server", ErrBuild)
	case err != nil:
		said := strings.TrimSpace(string(out))
		return fmt.Errorf("%w: run this within Tandem's source, or name a server with -server: %w: %s",
			ErrBuild, err, said[strings.LastIndexByte(said, '\n')+1:])
	}
	return nil
}

// Program is the program named, or, if none is, the server built as Build does,
// in a folder of its own. The caller calls remove when it needs it no more.
func Program(ctx context.Context, named string, race bool) (path string, remove func(), err error) {
	if named != "" {
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

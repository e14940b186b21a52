package live

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

const serverPackage = "github.com/tandem-ws/tandem/server"

// ErrBuild says that the server could not be built.
var ErrBuild = errors.New("live: build the server")

// buildServer builds the server into dir and returns the program's path.
func buildServer(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "server")
	// a revision stamped in would need git, and nobody asks this server for it
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, serverPackage)
	out, err := build.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%w: there is no go on the PATH: name a server that is built already with -server", ErrBuild)
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		said := strings.TrimSpace(string(out))
		return "", fmt.Errorf("%w: run this within Tandem's source, or name a server with -server: %w: %s",
			ErrBuild, err, said[strings.LastIndexByte(said, '\n')+1:])
	}
	return path, nil
}

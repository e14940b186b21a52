package anchor

import (
	"context"
	_ "embed" // floor.c
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrCompiler means that there is no C compiler, or that it failed.
var ErrCompiler = errors.New("anchor: cannot compile the floor")

//go:embed floor.c
var floorSource []byte

// BuildFloor compiles a floor program into dir and returns its path. An empty source
// means the floor.c of this package.
func BuildFloor(ctx context.Context, dir, source string) (string, error) {
	if source == "" {
		source = filepath.Join(dir, "floor.c")
		if err := os.WriteFile(source, floorSource, 0o600); err != nil {
			return "", fmt.Errorf("anchor: write floor.c: %w", err)
		}
	}
	for _, compiler := range []string{"gcc", "cc", "clang"} {
		path, err := exec.LookPath(compiler)
		if err != nil {
			continue
		}
		program := filepath.Join(dir, "floor")
		build := exec.CommandContext(ctx, path, "-O2", "-w", "-o", program, source)
		build.Cancel = func() error { return build.Process.Signal(os.Interrupt) } // it removes its files
		said, err := build.CombinedOutput()
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err != nil {
			return "", fmt.Errorf("%w: %s %s: %w: %s", ErrCompiler, compiler, source, err, firstLine(said))
		}
		return program, nil
	}
	return "", fmt.Errorf("%w: no gcc, cc or clang found: install one", ErrCompiler)
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}

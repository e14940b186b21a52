package anchor

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Builtin names the peers that BuildPeer knows.
var Builtin = []string{"gorilla"}

// BuildPeer builds a built-in peer into dir and returns its path.
func BuildPeer(ctx context.Context, dir, name string) (string, error) {
	if !slices.Contains(Builtin, name) {
		return "", fmt.Errorf("%w: no peer %q is built in, there are %v: give NAME=PROGRAM", ErrOptions, name, Builtin)
	}
	return Build(ctx, filepath.Join(dir, name), "./compare/anchor/"+name)
}

// Build builds a command of this module, by its folder, and returns program.
func Build(ctx context.Context, program, folder string) (string, error) {
	module := "github.com/tandem-ws/tandem"
	said, err := exec.CommandContext(ctx, "go", "build", "-o", program, module+strings.TrimPrefix(folder, ".")).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("anchor: build %s: %w: %s (run it in Tandem's folder, or give the program)", folder, err, strings.TrimSpace(string(said)))
	}
	return program, nil
}

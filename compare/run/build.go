package run

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const serverPackage = "github.com/tandem-ws/tandem/server"

// build builds the server into dir and returns the program's path.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "server")
	// a revision stamped in would need git, which not everyone has
	command := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, serverPackage)
	out, err := command.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%w: there is no go on the PATH to build the server with: name a built one with -server", ErrOptions)
	case err != nil:
		said := strings.TrimSpace(string(out))
		return "", fmt.Errorf("%w: the server cannot be built: run this within Tandem's source, or name a built one with -server: %s",
			ErrOptions, said[strings.LastIndexByte(said, '\n')+1:])
	}
	return path, nil
}

// versionOf is what the server program says of itself.
func versionOf(ctx context.Context, server string) (string, error) {
	out, err := exec.CommandContext(ctx, server, "-version").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s -version: %w: is it a Tandem server?", ErrOptions, server, err)
	}
	return strings.TrimSpace(string(out)), nil
}

var settingName = regexp.MustCompile(`(?m)^\s*([A-Z][A-Z0-9_]*)\s`)

// settingsOf are the names of the server's settings, out of its help.
func settingsOf(ctx context.Context, server string) ([]string, error) {
	out, err := exec.CommandContext(ctx, server, "-help").Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s -help: %w: is it a Tandem server?", ErrOptions, server, err)
	}
	var names []string
	for _, m := range settingName.FindAllSubmatch(out, -1) {
		names = append(names, string(m[1]))
	}
	return names, nil
}

// commit is what git says of the source, "" where there is no git.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return ""
	}
	id := strings.TrimSpace(string(out))
	if changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no").Output(); err == nil && len(changed) > 0 {
		id += "+changes"
	}
	return id
}

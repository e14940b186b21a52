package run

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// versionOf returns what the server program prints as its version.
func versionOf(ctx context.Context, server string) (string, error) {
	out, err := exec.CommandContext(ctx, server, "-version").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s -version: %w: is it a Tandem server?", ErrOptions, server, err)
	}
	return strings.TrimSpace(string(out)), nil
}

var settingName = regexp.MustCompile(`(?m)^\s*([A-Z][A-Z0-9_]*)\s`)

// settingsOf returns the names of the server's settings, from its help.
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

// commit returns the commit of the source, "" if there is no git.
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

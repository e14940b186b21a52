package anchor

import (
	"context"
	"path/filepath"

	"github.com/tandem-ws/tandem/compare/node"
)

// Builtin names the peers that BuildPeer knows.
var Builtin = []string{"gorilla"}

// BuildPeer builds a built-in peer into dir and returns its path.
func BuildPeer(ctx context.Context, dir, name string) (string, error) {
	program := filepath.Join(dir, name)
	return program, node.BuildFolder(ctx, program, "./compare/anchor/"+name)
}

package node

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuildSaysWhatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server")
	t.Chdir(t.TempDir())
	if err := Build(t.Context(), path, false); !errors.Is(err, ErrBuild) || !strings.Contains(err.Error(), "-server") || strings.Contains(err.Error(), "\n") {
		t.Errorf("outside the source: %v", err)
	}
	ended, end := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	end(why)
	if err := Build(ended, path, false); !errors.Is(err, why) || errors.Is(err, ErrBuild) {
		t.Errorf("after its end: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := Build(t.Context(), path, false); !errors.Is(err, ErrBuild) || !strings.Contains(err.Error(), "no go on the PATH") {
		t.Errorf("without go: %v", err)
	}
}

package live

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/load"
)

// server and compare are the programs, built once for all tests.
var server, compare string

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "load" {
		os.Exit(loadProcess()) // load.Start runs this program
	}
	flag.Parse()
	dir, err := os.MkdirTemp("", "tandem-live-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server, compare = filepath.Join(dir, "server"), filepath.Join(dir, "compare")
	var building sync.WaitGroup
	for path, source := range map[string]string{server: serverPackage, compare: "github.com/tandem-ws/tandem/compare"} {
		building.Go(func() {
			if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, source).CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "go build %s: %v\n%s", source, err, out)
				os.Exit(1)
			}
		})
	}
	building.Wait()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

func loadProcess() int {
	ctx, stop := ossignal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	in, err := os.Open("/dev/stdin")
	if err == nil {
		err = load.Serve(ctx, in, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

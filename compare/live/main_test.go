package live

import (
	"context"
	"flag"
	"fmt"
	"os"
	ossignal "os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/node"
)

// server is the program, built once for all tests.
var server string

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "load" {
		os.Exit(loadProcess()) // load.Start runs this program
	}
	flag.Parse()
	path, remove, err := node.Program(context.Background(), "", false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server = path
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		remove()
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

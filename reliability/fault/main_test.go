package fault_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/node"
)

// program is the server, built once for all tests.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	path, remove, err := node.Program(context.Background(), "", raceEnabled)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = path
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		remove()
		os.Exit(code)
	}))
}

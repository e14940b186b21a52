//go:build linux

package optimized

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// clientsEnv makes the test binary a process of clients instead: its value is
// the address to connect to. A process can have only so many descriptors, and a
// test of ten thousand connections needs two for each.
const clientsEnv = "TANDEM_TEST_CLIENTS_OF"

func TestMain(m *testing.M) {
	if addr := os.Getenv(clientsEnv); addr != "" {
		if err := serveClients(addr, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m,
		// net/http's own: after a refusal it waits half a second for the client, and
		// Close does not wait for that.
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

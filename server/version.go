package server

import (
	"flag"
	"fmt"
	"runtime"

	"github.com/tandem-ws/tandem/server/version"
)

// printVersion prints what runs, in one line.
func printVersion(i *invocation) int {
	if code, done := i.parse(flag.NewFlagSet("version", flag.ContinueOnError), 0, 0); done {
		return code
	}
	_, err := fmt.Fprintf(i.stdout, "tandem %s %s %s\n", version.Version, version.Revision(), runtime.Version())
	return outcome(i.stderr, err)
}

package enginetest

import (
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

// RunSecure runs the suite over TLS: the same clients, the same bytes, encrypted, and
// beside them the cases of TLS itself. It leaves out the table of RFC 6455's rules and
// the real Redis, which do not depend on what is below them.
func RunSecure(t *testing.T, build func(modes.Config) (modes.Engine, error)) {
	if testing.Short() {
		t.Skip("-short leaves out the suite over TLS")
	}
	secure := func(c modes.Config) (modes.Engine, error) {
		c.TLS = kit.ServerTLS()
		engine, err := build(c)
		if err != nil {
			return nil, err
		}
		return kit.SecureEngine{Engine: engine}, nil
	}
	run(t, secure, false, leftoverCases)
	run(t, secure, true, append(parallelCases(), tlsCases)...)
}

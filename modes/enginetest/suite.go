package enginetest

import (
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
)

// Run runs every case against the engines that build constructs.
func Run(t *testing.T, build func(modes.Config) (modes.Engine, error)) {
	// The cases that count descriptors and goroutines of the whole process
	// come first, one by one: those that are parallel begin when this returns.
	run(t, build, false,
		leftoverCases,
	)
	run(t, build, true, append(parallelCases(), ruleCases, redisCases)...)
}

// parallelCases are those that run beside each other, and over TLS, too.
func parallelCases() [][]suiteCase {
	return [][]suiteCase{
		handshakeCases, refusalCases, httpCases, addressCases, socketCases,
		frameCases, closeCases, deflateCases,
		sessionCases, tokenCases, rightsCases, reservedCases, subscribeCases, pingCases,
		fanoutCases, rawCases, streamCases, slowCases, largeCases, unreadCases,
		gapCases, drainCases,
	}
}

// suiteCase is one case: its name and what it does with engines of its own.
type suiteCase struct {
	name string
	run  func(*testing.T, kit.Build)
}

func run(t *testing.T, build kit.Build, parallel bool, groups ...[]suiteCase) {
	for _, group := range groups {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				if parallel {
					t.Parallel()
				}
				c.run(t, build)
			})
		}
	}
}

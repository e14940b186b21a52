//go:build linux

package optimized_test

import (
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest"
	"github.com/tandem-ws/tandem/modes/optimized"
)

// TestOptimized runs the conformance suite: go test ./modes/optimized -run TestOptimized/gap runs
// the cases whose names begin with gap.
func TestOptimized(t *testing.T) {
	enginetest.Run(t, func(c modes.Config) (modes.Engine, error) {
		return optimized.New(c, optimized.Options{Loops: 2})
	})
}

// TestOptimizedTLS is TestOptimized over TLS, with the cases of TLS itself.
func TestOptimizedTLS(t *testing.T) {
	enginetest.RunSecure(t, func(c modes.Config) (modes.Engine, error) {
		return optimized.New(c, optimized.Options{Loops: 2})
	})
}

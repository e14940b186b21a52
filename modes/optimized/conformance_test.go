//go:build linux

package optimized_test

import (
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest"
	"github.com/tandem-ws/tandem/modes/optimized"
)

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(c modes.Config) (modes.Engine, error) {
		return optimized.New(c, optimized.Options{Loops: 2})
	})
}

func TestConformanceOverTLS(t *testing.T) {
	enginetest.RunSecure(t, func(c modes.Config) (modes.Engine, error) {
		return optimized.New(c, optimized.Options{Loops: 2})
	})
}

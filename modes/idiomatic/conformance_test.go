package idiomatic_test

import (
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest"
	"github.com/tandem-ws/tandem/modes/idiomatic"
)

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(c modes.Config) (modes.Engine, error) {
		return idiomatic.New(c, idiomatic.Options{})
	})
}

func TestConformanceOverTLS(t *testing.T) {
	enginetest.RunSecure(t, func(c modes.Config) (modes.Engine, error) {
		return idiomatic.New(c, idiomatic.Options{})
	})
}

package idiomatic_test

import (
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest"
	"github.com/tandem-ws/tandem/modes/idiomatic"
)

// TestIdiomatic runs the conformance suite: go test ./modes/idiomatic -run TestIdiomatic/gap runs
// the cases whose names begin with gap.
func TestIdiomatic(t *testing.T) {
	enginetest.Run(t, func(c modes.Config) (modes.Engine, error) {
		return idiomatic.New(c, idiomatic.Options{})
	})
}

// TestIdiomaticTLS is TestIdiomatic over TLS, with the cases of TLS itself.
func TestIdiomaticTLS(t *testing.T) {
	enginetest.RunSecure(t, func(c modes.Config) (modes.Engine, error) {
		return idiomatic.New(c, idiomatic.Options{})
	})
}

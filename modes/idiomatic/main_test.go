package idiomatic

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// net/http's own: after a refusal it waits half a second for the client, and
		// Close does not wait for that.
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

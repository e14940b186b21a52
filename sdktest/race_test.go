//go:build race

package sdktest

// buildFlags build the server under test with the race detector, as the tests
// are.
var buildFlags = []string{"-race"}

//go:build !race

package sdktest

// buildFlags are none: the tests are built without the race detector.
var buildFlags []string

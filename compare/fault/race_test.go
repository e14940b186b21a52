//go:build race

package fault_test

// raceEnabled says that the race detector watches this test, and is to watch the
// server too.
const raceEnabled = true

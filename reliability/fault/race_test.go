//go:build race

package fault_test

// raceEnabled means that this test, and therefore the server, runs with the race
// detector.
const raceEnabled = true

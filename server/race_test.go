//go:build race

package server

// raceEnabled says that the server under test is built with the race detector,
// as the tests are.
const raceEnabled = true

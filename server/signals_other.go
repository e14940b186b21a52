//go:build !unix

package server

// ignoreSignals does nothing where there are no such signals.
func ignoreSignals() (restore func()) { return func() {} }

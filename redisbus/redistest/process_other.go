//go:build !linux

package redistest

import "os/exec"

// dieWithParent has no counterpart here: a test binary that crashes leaves its
// redis-server behind.
func dieWithParent(*exec.Cmd) {}

// stopped takes the signal for its effect where /proc does not tell.
func stopped(int) bool { return true }

//go:build unix

package testbed

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileLimit returns how many descriptors a process of this user may have.
func fileLimit() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("%w: read the limit of open files: %w", ErrRun, err)
	}
	return uint64(limit.Max), nil
}

// FileLimit returns how many descriptors a process of this user may have, or 0 if it
// is unknown.
func FileLimit() uint64 {
	n, err := fileLimit()
	if err != nil {
		return 0
	}
	return n
}

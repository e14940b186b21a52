//go:build unix

package rig

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileLimit is how many descriptors a process of this user may have.
func fileLimit() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("%w: read the limit of open files: %w", ErrRun, err)
	}
	return uint64(limit.Max), nil
}

// FileLimit is how many descriptors a process of this user may have; 0: unknown.
func FileLimit() uint64 {
	n, err := fileLimit()
	if err != nil {
		return 0
	}
	return n
}

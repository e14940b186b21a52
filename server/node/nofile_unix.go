//go:build unix

package node

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// RaiseDescriptorLimit sets RLIMIT_NOFILE to its hard limit and returns what
// holds after that.
func RaiseDescriptorLimit() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("tandem: read RLIMIT_NOFILE: %w", err)
	}
	if limit.Cur >= limit.Max {
		return limit.Cur, nil
	}
	raised := limit
	raised.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		return limit.Cur, fmt.Errorf("tandem: raise RLIMIT_NOFILE from %d to %d: %w", limit.Cur, limit.Max, err)
	}
	return raised.Cur, nil
}

package live

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// allowedCPUs returns the CPUs that this process may run on.
func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("live: read CPU affinity: %w", err)
	}
	var cpus []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return cpus, nil
}

// descriptorLimit returns how many descriptors a process may open: servers and load
// processes raise their soft limit to the hard one.
func descriptorLimit() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("live: read descriptor limit: %w", err)
	}
	return limit.Max, nil
}

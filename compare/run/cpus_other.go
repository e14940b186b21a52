//go:build !linux

package run

import "fmt"

// cpus says that there is nothing to choose from: load and measurement need Linux.
func cpus() ([]int, error) {
	return nil, fmt.Errorf("%w: compare measures on Linux only: it needs epoll, /proc and CPU affinity", ErrOptions)
}

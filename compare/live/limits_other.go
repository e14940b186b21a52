//go:build !linux

package live

import "github.com/tandem-ws/tandem/compare/load"

// allowedCPUs returns load.ErrUnsupported: without a load generator there is
// nothing to show.
func allowedCPUs() ([]int, error) { return nil, load.ErrUnsupported }

func descriptorLimit() (uint64, error) { return 0, load.ErrUnsupported }

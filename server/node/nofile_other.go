//go:build !unix

package node

import "math"

// RaiseDescriptorLimit does nothing where processes have no such limit.
func RaiseDescriptorLimit() (uint64, error) { return math.MaxInt32, nil }

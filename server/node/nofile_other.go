//go:build !unix

package node

import "math"

// RaiseDescriptorLimit does nothing, because processes have no such limit here.
func RaiseDescriptorLimit() (uint64, error) { return math.MaxInt32, nil }

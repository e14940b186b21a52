//go:build !linux

package process

import "time"

// MachineCPU is what the machine's CPUs have spent; here it returns
// ErrUnsupported.
func MachineCPU() (time.Duration, error) { return 0, ErrUnsupported }

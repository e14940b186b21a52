//go:build !linux

package process

import (
	"os/exec"
	"time"
)

func startOn(cmd *exec.Cmd, cpus []int) error {
	if len(cpus) > 0 {
		return ErrUnsupported
	}
	return cmd.Start()
}

// Pin makes this process run on the given CPUs; here it returns ErrUnsupported.
func Pin(...int) error { return ErrUnsupported }

// CPU is what process pid has used; here it returns ErrUnsupported.
func CPU(int) (time.Duration, error) { return 0, ErrUnsupported }

// ReadMemory reads what memory process pid holds; here it returns ErrUnsupported.
func ReadMemory(int) (Memory, error) { return Memory{}, ErrUnsupported }

package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// MachineCPU returns the CPU time that all CPUs of this machine have spent on anything
// but idling since it started, including what its host took away (steal), in clock
// ticks of 10 ms.
func MachineCPU() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("process: CPU time of the machine: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, fmt.Errorf("process: CPU time of the machine: /proc/stat begins with %q", line)
	}
	var ticks int64
	for i, f := range fields[1:9] {
		const idle, iowait = 3, 4
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("process: CPU time of the machine: %w", err)
		}
		if i != idle && i != iowait {
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ is 100 wherever Go runs
}

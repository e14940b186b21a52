package process

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startOn starts cmd on the given CPUs. The child inherits the affinity of the thread
// that forks it, so that even its first thread runs nowhere else.
func startOn(cmd *exec.Cmd, cpus []int) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	// Ctrl-C reaches this process only, which then ends the others in order.
	cmd.SysProcAttr.Setpgid = true
	if len(cpus) == 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, wanted unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("read CPU affinity: %w", err)
	}
	for _, c := range cpus {
		wanted.Set(c)
	}
	if err := unix.SchedSetaffinity(0, &wanted); err != nil {
		return fmt.Errorf("set CPUs %v: %w", cpus, err)
	}
	err := cmd.Start()
	if back := unix.SchedSetaffinity(0, &before); back != nil && err == nil {
		return fmt.Errorf("restore CPU affinity: %w", back)
	}
	return err
}

// Pin makes this process run on the given CPUs from now on.
func Pin(cpus ...int) error {
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("process: list own threads: %w", err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		// threads started meanwhile inherit it
		if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH {
			return fmt.Errorf("process: set CPUs %v: %w", cpus, err)
		}
	}
	return nil
}

// CPU returns the user and system time of process pid (0 means this one), with all of
// its threads, as the scheduler counts it: in nanoseconds rather than clock ticks.
func CPU(pid int) (time.Duration, error) {
	clock := int32(unix.CLOCK_PROCESS_CPUTIME_ID)
	if pid != 0 {
		const scheduled = 2 // CPUCLOCK_SCHED, as clock_getcpuclockid(3) builds it
		clock = int32(^uint32(pid)<<3 | scheduled)
	}
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("process: CPU time of %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// ReadMemory returns the memory of process pid (0 means this one).
func ReadMemory(pid int) (Memory, error) {
	dir := "self"
	if pid != 0 {
		dir = strconv.Itoa(pid)
	}
	text, err := os.ReadFile("/proc/" + dir + "/smaps_rollup")
	if err != nil {
		return Memory{}, fmt.Errorf("process: memory of %s: %w", dir, err)
	}
	var m Memory
	for line := range bytes.Lines(text) {
		key, rest, found := bytes.Cut(line, []byte(":"))
		fields := bytes.Fields(rest)
		if !found || len(fields) < 2 {
			continue
		}
		kb, err := strconv.ParseUint(string(fields[0]), 10, 64)
		if err != nil {
			continue // the first line, an address range
		}
		switch string(key) {
		case "Rss":
			m.RSS = kb << 10
		case "Pss":
			m.PSS = kb << 10
		case "Pss_Anon":
			m.Anonymous = kb << 10
		}
	}
	return m, nil
}

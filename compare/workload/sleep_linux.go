package workload

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleep sleeps for d with the kernel's precision, tens of microseconds:
// time.Sleep rounds up to a millisecond, which every latency would contain.
func sleep(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	// waking early, by a signal, is for the caller to see
	_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &t, nil)
}

package load

import (
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkSocket handles 128-byte messages through a socket and a loop's read:
// each by itself, as in a broadcast, and many at once, as in a burst. msgs/cpu-s
// is a second of CPU of the reading alone; the writer's share is left out.
func BenchmarkSocket(b *testing.B) {
	for _, together := range []int{1, 10, 500} {
		b.Run(strconv.Itoa(together), func(b *testing.B) { benchmarkSocket(b, together) })
	}
}

func benchmarkSocket(b *testing.B, together int) {
	l, err := newLoop(nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.release()
	l.groups = []group{{protocol: protoCentrifuge}}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = unix.Close(pair[1]) }()
	r := l.slab.take()
	r.state, r.fd = joined, int32(pair[0])
	stream := burst(protoCentrifuge, together)
	runtime.LockOSThread() // the CPU clock is this thread's
	defer runtime.UnlockOSThread()
	var reading int64
	b.ReportAllocs()
	for b.Loop() {
		for rest := stream; len(rest) > 0; {
			n, errno := writeFD(int32(pair[1]), rest)
			if errno != 0 && errno != unix.EAGAIN {
				b.Fatal(errno)
			}
			rest = rest[max(n, 0):]
			before := threadCPU(b)
			l.read(r)
			reading += threadCPU(b) - before
		}
		r.expect(1)
	}
	if l.count.Lost != 0 {
		b.Fatalf("%+v", l.count)
	}
	b.ReportMetric(float64(l.count.Delivered)/float64(reading)*1e9, "msgs/cpu-s")
}

func threadCPU(b *testing.B) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return t.Nano()
}

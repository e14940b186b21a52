package load

import (
	"maps"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/compare/process"
)

// report is the state at one moment.
type report struct {
	time      int64
	count     Counters
	user, sys int64 // microseconds
}

// snapshot is an answer whose expensive parts another goroutine fills in.
type snapshot struct {
	answer         Answer
	total, connect *hdrhistogram.Histogram
	interval       *hdrhistogram.Histogram // nil except on report
}

func (l *loop) standing() report {
	r := report{time: l.now, count: l.count}
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) == nil {
		r.user, r.sys = usage.Utime.Nano()/1000, usage.Stime.Nano()/1000
	}
	return r
}

// answer sends the answer to c. A report starts a new interval.
func (l *loop) answer(c Command, err error) {
	standing := l.standing()
	elapsed := standing.time - l.reported.time
	a := Answer{
		ID: c.ID, Cmd: c.Cmd, Time: standing.time,
		Connecting: l.connecting, Connected: l.connected, Subscribed: l.joinedNow, Frozen: l.frozen,
		Failed: maps.Clone(l.failed), Closed: maps.Clone(l.closed),
		Total: standing.count, UserMicros: standing.user, SysMicros: standing.sys,
	}
	if err != nil {
		a.Error = err.Error()
	}
	if elapsed > 0 {
		a.Busy = min(max(1-float64(l.blocked)/float64(elapsed), 0), 1)
	}
	s := snapshot{connect: l.connect.Clone()}
	if c.Cmd == Report {
		a.Interval = &Interval{
			Seconds:    float64(elapsed) / 1e9,
			Counters:   standing.count.Minus(l.reported.count),
			UserMicros: standing.user - l.reported.user,
			SysMicros:  standing.sys - l.reported.sys,
		}
		s.interval = l.latency.Clone()
		l.total.Merge(l.latency)
		l.latency.Reset()
		l.reported, l.blocked = standing, 0
		s.total = l.total.Clone()
	} else {
		s.total = l.total.Clone()
		s.total.Merge(l.latency)
	}
	s.answer = a
	l.answers <- s
}

// complete fills in the expensive parts. It runs beside the loop.
func (s *snapshot) complete() (Answer, error) {
	a := s.answer
	var err error
	if a.Latency, err = encode(s.total); err != nil {
		return a, err
	}
	if a.ConnectTime, err = encode(s.connect); err != nil {
		return a, err
	}
	if s.interval != nil {
		if a.Interval.Latency, err = encode(s.interval); err != nil {
			return a, err
		}
	}
	// zeros mean that the kernel does not provide them, see Answer
	if m, err := process.ReadMemory(0); err == nil {
		a.RSS, a.PSS = m.RSS, m.PSS
	}
	return a, nil
}

package testbed

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/result"
)

// standing is what the processes have used so far.
type standing struct {
	time                      time.Time
	server, load, redis, mine time.Duration
	machine                   time.Duration
	connectTime               load.Histogram
}

// Window is the measured part of a run.
type Window struct {
	r     *Testbed
	began standing
}

// Begin starts a window.
func (r *Testbed) Begin() (*Window, error) {
	answers, err := r.Do(load.Command{Cmd: load.Report})
	if err != nil {
		return nil, err
	}
	r.late = 0
	s, err := r.standing()
	if err != nil {
		return nil, err
	}
	s.connectTime, err = mergeConnectTime(answers)
	return &Window{r: r, began: s}, err
}

func (r *Testbed) standing() (s standing, err error) {
	s.time = time.Now()
	add := func(sum *time.Duration, pid int) {
		used, failed := process.CPU(pid)
		if *sum += used; failed != nil && err == nil {
			err = fmt.Errorf("%w: %w", ErrRun, failed)
		}
	}
	for _, n := range r.nodes {
		add(&s.server, n.pid)
	}
	for _, p := range r.loads {
		add(&s.load, p.PID())
	}
	if r.redis != nil {
		add(&s.redis, r.redis.PID())
	}
	add(&s.mine, 0)
	machine, failed := process.MachineCPU()
	if s.machine = machine; failed != nil && err == nil {
		err = fmt.Errorf("%w: %w", ErrRun, failed)
	}
	return s, err
}

// Measured is what happened in a window.
type Measured struct {
	Start   time.Time
	Seconds float64
	// ServerCPU is that of all nodes.
	ServerCPU time.Duration
	Counters  load.Counters
	Latency   load.Histogram
	// ConnectTime of the connections that were subscribed within the window.
	ConnectTime load.Histogram
	Use         result.Use
	// Connected, Subscribed and Frozen at the end.
	Connected, Subscribed, Frozen int
}

// othersFrom is how many seconds a window must last to tell what others used by the
// machine's clock, which ticks every 10 ms.
const othersFrom = 0.3

// End ends the window.
func (w *Window) End() (Measured, error) {
	r := w.r
	end, err := r.standing()
	if err != nil {
		return Measured{}, err
	}
	answers, err := r.Do(load.Command{Cmd: load.Report})
	if err != nil {
		return Measured{}, err
	}
	seconds := end.time.Sub(w.began.time).Seconds()
	m := Measured{
		Start: w.began.time, Seconds: seconds, ServerCPU: end.server - w.began.server,
		Use: result.Use{
			Server: (end.server - w.began.server).Seconds() / seconds,
			Load:   (end.load - w.began.load).Seconds() / seconds,
			// a restarted Redis has used less than the one before
			Redis:      max(end.redis-w.began.redis, 0).Seconds() / seconds,
			Compare:    (end.mine - w.began.mine).Seconds() / seconds,
			ServerCPUs: len(r.o.CPUs.Server), LoadCPUs: len(r.o.CPUs.Load),
			Lag: r.late.Seconds(),
		},
	}
	m.Use.RedisApart = len(r.o.CPUs.Redis) > 0 && r.o.CPUs.Redis[0] != r.o.CPUs.Load[len(r.o.CPUs.Load)-1]
	if seconds >= othersFrom {
		ours := m.Use.Server + m.Use.Load + m.Use.Redis + m.Use.Compare
		m.Use.Others = max((end.machine-w.began.machine).Seconds()/seconds-ours, 0)
	}
	if m.Use.ServerCPUs == 0 {
		m.Use.ServerCPUs, m.Use.LoadCPUs, m.Use.Shared = 1, 1, true
	}
	var latencies []load.Histogram
	for i := range answers {
		a := &answers[i]
		m.Counters.Add(a.Interval.Counters)
		latencies = append(latencies, a.Interval.Latency)
		m.Use.Busy = max(m.Use.Busy, a.Busy)
		m.Connected += a.Connected
		m.Subscribed += a.Subscribed
		m.Frozen += a.Frozen
	}
	if m.Latency, err = merged(latencies); err != nil {
		return m, err
	}
	all, err := mergeConnectTime(answers)
	if err != nil {
		return m, err
	}
	m.ConnectTime, err = minus(all, w.began.connectTime)
	return m, err
}

func mergeConnectTime(answers []load.Answer) (load.Histogram, error) {
	parts := make([]load.Histogram, len(answers))
	for i := range answers {
		parts[i] = answers[i].ConnectTime
	}
	return merged(parts)
}

func merged(parts []load.Histogram) (load.Histogram, error) {
	h, err := load.Merge(parts...)
	if err != nil {
		return "", err
	}
	return encode(h)
}

func encode(h *hdrhistogram.Histogram) (load.Histogram, error) {
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("%w: encode histogram: %w", ErrRun, err)
	}
	return load.Histogram(b), nil
}

// minus returns what was counted after before.
func minus(all, before load.Histogram) (load.Histogram, error) {
	a, err := all.Decode()
	if err != nil {
		return "", err
	}
	b, err := before.Decode()
	if err != nil {
		return "", err
	}
	now, then := a.Export(), b.Export()
	for i := range then.Counts {
		now.Counts[i] -= then.Counts[i]
	}
	return encode(hdrhistogram.Import(now))
}

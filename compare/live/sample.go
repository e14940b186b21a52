package live

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/process"
)

const (
	sampleEvery = time.Second
	// a server that takes longer counts as not answering
	sampleLimit = 900 * time.Millisecond
	// latencySpan is the number of samples that percentiles cover.
	latencySpan = 10
	// steadySpan is the number of samples for figures that change in steps: the
	// runtime counts the CPU time of a collection when it ends.
	steadySpan = 30
	// with fewer connections, the memory of one of them is lost in the noise
	fewConnections = 50
)

// Sample is what is shown for one second.
type Sample struct {
	// Time is when it was taken, milliseconds since 1970.
	Time     int64     `json:"time"`
	Settings Settings  `json:"settings"`
	Variants []Figures `json:"variants"`
}

// Figures are those of one variant. Pointers are nil if a figure is unknown.
type Figures struct {
	// Fault is the reason why the figures of this second are missing.
	Fault string `json:"fault,omitempty"`

	// Connections counts subscribed connections, and Connecting those that are being
	// opened.
	Connections int `json:"connections"`
	Connecting  int `json:"connecting"`

	// PSS, RSS, Heap and Stacks are in bytes. PerConnection is the increase of PSS
	// since the first connection, divided by their number.
	PSS           uint64   `json:"pss"`
	RSS           uint64   `json:"rss"`
	PerConnection *float64 `json:"per_connection"`
	Heap          *float64 `json:"heap"`
	Stacks        *float64 `json:"stacks"`
	Goroutines    *float64 `json:"goroutines"`

	// CPU is in percent of one CPU, CPUPerDelivery in microseconds.
	CPU            *float64 `json:"cpu"`
	CPUPerDelivery *float64 `json:"cpu_per_delivery"`
	// GCShare is the garbage collector's percentage of that CPU during the last half
	// minute, and GCPause the longest recent pause in milliseconds.
	GCShare *float64 `json:"gc_share"`
	GCPause *float64 `json:"gc_pause"`

	// Deliveries is per second. Traffic is in bytes a second, with everything that the
	// connections receive.
	Deliveries *float64 `json:"deliveries"`
	Traffic    *float64 `json:"traffic"`
	// Latency covers the last ten seconds, and LatencyNow this one.
	Latency    *Percentiles `json:"latency"`
	LatencyNow *Percentiles `json:"latency_now"`

	// Lost and Disordered (reordered, duplicated or misrouted) count messages since
	// the start; Refused and Ended count connections that the server refused or ended.
	Lost       int64  `json:"lost"`
	Disordered int64  `json:"disordered"`
	Refused    uint64 `json:"refused"`
	Ended      uint64 `json:"ended"`
	// LoadBusy is the share of time, 0 to 1, in which the load process was busy: above
	// 0.9 it limits the figures.
	LoadBusy float64 `json:"load_busy"`
}

// Percentiles of latency in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func percentiles(h *hdrhistogram.Histogram) *Percentiles {
	if h.TotalCount() == 0 {
		return nil
	}
	ms := func(ns int64) float64 { return float64(ns) / 1e6 }
	return &Percentiles{ms(h.ValueAtQuantile(50)), ms(h.ValueAtQuantile(99)), ms(h.Max())}
}

// told returns nil if v is unknown.
func told(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// reading is what was read from a variant at one moment.
type reading struct {
	cpu       time.Duration
	at        time.Time
	gc        float64 // seconds of CPU
	delivered int64
	received  int64 // bytes
	reported  int64 // when these were counted, ns since 1970
}

// sampler takes the samples of one variant. It is used by one goroutine.
type sampler struct {
	variant *variant
	client  *http.Client

	readings  []reading // the last, newest at the end
	latencies []load.Histogram
}

// take reads everything once.
func (s *sampler) take(ctx context.Context) Figures {
	ctx, cancel := context.WithTimeout(ctx, sampleLimit)
	defer cancel()
	var f Figures
	var runtime process.Runtime
	var scraped error
	var asking sync.WaitGroup
	asking.Go(func() { runtime, scraped = process.ReadRuntime(ctx, s.client, s.variant.internal) })
	report, err := s.variant.load.Do(ctx, load.Command{Cmd: load.Report})
	cpu, cpuErr := s.variant.server.CPU()
	at := time.Now()
	memory, memErr := s.variant.server.Memory()
	asking.Wait()
	switch {
	case err != nil:
		return Figures{Fault: "the load process does not answer"}
	case cpuErr != nil || memErr != nil:
		return Figures{Fault: "the server process is gone"}
	case scraped != nil:
		return Figures{Fault: "the server does not answer"}
	}

	f.Connections, f.Connecting = report.Subscribed, report.Connecting+report.Connected-report.Subscribed
	f.PSS, f.RSS = memory.PSS, memory.RSS
	if n := report.Connected; n >= fewConnections && memory.PSS > s.variant.idle {
		f.PerConnection = told(float64(memory.PSS-s.variant.idle) / float64(n))
	}
	f.Goroutines, f.Heap, f.Stacks = told(runtime.Goroutines), told(runtime.Heap), told(runtime.Stacks)
	f.GCPause = told(runtime.GCPause * 1e3)
	total := report.Total
	f.Lost, f.Disordered = total.Lost, total.Reordered+total.Duplicated+total.Misrouted+total.Early
	f.Refused, f.Ended = report.FailedTotal(), report.ClosedTotal()-report.Closed["local"]
	f.LoadBusy = report.Busy
	s.rates(&f, reading{cpu: cpu, at: at, gc: runtime.GCCPU, delivered: total.Delivered, received: total.Bytes, reported: report.Time})
	if err := s.latency(&f, report.Interval.Latency); err != nil {
		f.Fault = err.Error()
	}
	return f
}

// rates fills in what is counted between two readings.
func (s *sampler) rates(f *Figures, now reading) {
	defer func() {
		s.readings = append(s.readings, now)
		s.readings = s.readings[max(0, len(s.readings)-steadySpan):]
	}()
	if len(s.readings) == 0 {
		return
	}
	last, first := s.readings[len(s.readings)-1], s.readings[0]
	used := now.cpu - last.cpu
	f.CPU = told(100 * used.Seconds() / now.at.Sub(last.at).Seconds())
	counted := float64(now.reported-last.reported) / 1e9
	f.Deliveries = told(float64(now.delivered-last.delivered) / counted)
	f.Traffic = told(float64(now.received-last.received) / counted)
	recent := s.readings[max(0, len(s.readings)-latencySpan)]
	if n := now.delivered - recent.delivered; n > 0 {
		f.CPUPerDelivery = told(float64((now.cpu - recent.cpu).Microseconds()) / float64(n))
	}
	// the runtime also counts idle CPUs that helped to mark
	f.GCShare = told(min(100*(now.gc-first.gc)/(now.cpu-first.cpu).Seconds(), 100))
}

// latency fills in the percentiles.
func (s *sampler) latency(f *Figures, now load.Histogram) error {
	s.latencies = append(s.latencies, now)
	s.latencies = s.latencies[max(0, len(s.latencies)-latencySpan):]
	second, err := now.Decode()
	if err != nil {
		return fmt.Errorf("live: latency: %w", err)
	}
	all, err := load.Merge(s.latencies...)
	if err != nil {
		return fmt.Errorf("live: latency: %w", err)
	}
	f.LatencyNow, f.Latency = percentiles(second), percentiles(all)
	return nil
}

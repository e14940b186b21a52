package scenario

import (
	"fmt"
	"math"

	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
)

var idle = Scenario{
	Name: "idle", Title: "Idle memory",
	Shows: "What a connection costs that is connected, subscribed to a shared channel and silent, ping timers running: the slope of the process's memory (PSS) between two numbers of connections, so that what the process holds without any does not count.",
	sizes: map[string]Size{
		"tiny":  {Connections: []int{50, 200}, Bytes: 128, Settle: 1e8},
		"quick": {Connections: []int{1000, 6000, 16000}, Bytes: 128, Settle: 5e8},
		"full":  {Connections: []int{1000, 6000, 12000, 18000}, Bytes: 128, Settle: 2e9},
	},
	describe: func(s Size) string {
		return fmt.Sprintf("%s to %s on one channel, %v of rest before each reading", thousands(s.Connections[0]), connections(s.most()), s.Settle)
	},
	windows: func(s Size) int { return len(s.Connections) },
	run:     runIdle,
}

// reading is the memory at one number of connections.
type reading struct {
	n       int
	memory  process.Memory
	runtime testbed.Runtime
	told    bool // the server told about its runtime
	kernel  testbed.Kernel
}

func (b *bench) read(n int) (reading, error) {
	v := reading{n: n}
	var err error
	if v.memory, err = b.Memory(); err != nil {
		return v, err
	}
	if v.kernel, err = testbed.ReadKernel(); err != nil {
		return v, err
	}
	v.runtime, v.told, err = b.Runtime()
	return v, err
}

// grow opens connections until there are n.
func (b *bench) grow(have *int, n int) error {
	_, err := b.Connect(testbed.Connections{N: n - *have, Channel: shared})
	*have = n
	return err
}

const mega = 1 << 20

func runIdle(b *bench) error {
	have := 0
	var readings []reading
	var last *result.Sample
	for _, n := range b.size.Connections {
		if err := b.grow(&have, n); err != nil {
			return err
		}
		if err := b.Idle(b.size.Settle); err != nil {
			return err
		}
		w, err := b.Begin()
		if err != nil {
			return err
		}
		v, err := b.read(n)
		if err != nil {
			return err
		}
		m, err := w.End()
		if err != nil {
			return err
		}
		readings = append(readings, v)
		s := b.sample(connections(n), float64(n), m)
		s.Latency, s.Bound = "", result.BoundRate
		s.Values[result.PSS] = float64(v.memory.PSS) / mega
		s.Values[result.SocketBuffers] = float64(v.kernel.Buffers) / mega
		if n == b.size.most() {
			last = s
			break
		}
		b.keep(s)
	}
	counters, err := b.verify(settleTime)
	if err != nil {
		return err
	}
	last.Counters, last.Expected = counters, int64(have)
	slope(last.Values, readings[0], readings[len(readings)-1])
	b.keep(last)
	return nil
}

// slope returns what each connection between two readings has added.
func slope(values map[string]float64, from, to reading) {
	n := float64(to.n - from.n)
	values[result.PerConnection] = (float64(to.memory.PSS) - float64(from.memory.PSS)) / n
	if to.told {
		values[result.Heap] = (to.runtime.Heap - from.runtime.Heap) / n
		values[result.Stacks] = (to.runtime.Stacks - from.runtime.Stacks) / n
		values[result.Goroutines] = (to.runtime.Goroutines - from.runtime.Goroutines) / n
	}
	values[result.Kernel] = kernelSlope(from, to)
}

// kernelSlope returns the kernel memory of each connection, both of its ends.
func kernelSlope(from, to reading) float64 {
	if to.kernel.Slab == 0 {
		return math.NaN()
	}
	return (float64(to.kernel.Slab+to.kernel.Buffers) - float64(from.kernel.Slab+from.kernel.Buffers)) / float64(to.n-from.n)
}

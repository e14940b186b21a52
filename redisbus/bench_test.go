package redisbus

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/redisbus/redistest"
)

// counter is a receiver that costs next to nothing.
type counter struct {
	n       atomic.Int64
	want    int64
	reached chan struct{}
}

func (c *counter) Deliver(modes.Publication) {
	if c.n.Add(1) == c.want {
		close(c.reached)
	}
}

func (c *counter) Flush() {}

func (c *counter) Lost([]string) {}

// cpuTime is what this process has used, in user and kernel mode.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func startCounting(b *testing.B, s *redistest.Server, n int) (*Bus, *counter) {
	b.Helper()
	c := &counter{want: int64(n), reached: make(chan struct{})}
	bus, err := New(Options{URL: s.URL()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(bus.Close)
	if err := bus.Start(c); err != nil {
		b.Fatal(err)
	}
	awaitReady(b, bus)
	return bus, c
}

// BenchmarkReceive is the cost of a publication from the socket to the receiver
// when they come as fast as Redis has them: a script in Redis publishes, so that
// time, CPU and allocations are the bus's alone.
func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{128, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := redistest.Start(b, "--client-output-buffer-limit", "pubsub 0 0 0")
			bus, c := startCounting(b, s, b.N)
			mustSubscribe(b, bus, "news")
			payload := strings.Repeat("x", size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			before := cpuTime(b)
			b.ResetTimer()
			const script = `for i = 1, ARGV[1] do redis.call('PUBLISH', KEYS[1], ARGV[2]) end return 0`
			for left := b.N; left > 0; {
				n := min(left, 1000)
				if err := s.Client().Eval(context.Background(), script, []string{"news"}, n, payload).Err(); err != nil {
					b.Fatal(err)
				}
				left -= n
			}
			<-c.reached
			b.StopTimer()
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkReceivePaced is the same at 2,000 messages a second to random ones
// of 10,000 channels, where what counts is that each wakes the process up. Only
// cpu-ns/op means anything. Another process publishes.
func BenchmarkReceivePaced(b *testing.B) {
	const rate, channels = 2000, 10_000
	s := redistest.Start(b)
	n := max(b.N, rate) // less than a second of it is noise
	bus, c := startCounting(b, s, n)
	for i := range channels {
		mustSubscribeSoon(b, bus, fmt.Sprint("channel-", i))
	}
	await(b, "all are subscribed", func() bool { return len(s.Channels()) == channels })
	runtime.GC()
	publisher := exec.Command(os.Args[0])
	publisher.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %d", pacedPublisher, s.Addr(), n, rate, channels))
	publisher.Stderr = os.Stderr
	before := cpuTime(b)
	if err := publisher.Start(); err != nil {
		b.Fatal(err)
	}
	<-c.reached
	spent := cpuTime(b) - before
	if err := publisher.Wait(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(spent)/float64(n), "cpu-ns/op")
	b.ReportMetric(0, "ns/op")
}

// mustSubscribeSoon subscribes without waiting, to fill batches.
func mustSubscribeSoon(b *testing.B, bus *Bus, channel string) {
	bus.Subscribe(channel, func(err error) {
		if err != nil {
			b.Error(err)
		}
	})
}

// pacedPublisher is the variable that turns the test binary into a publisher.
const pacedPublisher = "REDISBUS_PACED_PUBLISHER"

func publishPaced(args string) error {
	var addr string
	var n, rate, channels int
	if _, err := fmt.Sscan(args, &addr, &n, &rate, &channels); err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2})
	defer func() { _ = client.Close() }()
	ctx := context.Background()
	payload := strings.Repeat("x", 128)
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		// A stride coprime to the number of channels visits them all in no order
		// that a cache could follow.
		channel := fmt.Sprint("channel-", i*7919%channels)
		if err := client.Publish(ctx, channel, payload).Err(); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkChannelMemory reports what a channel with one reference costs in this
// process, go-redis and a name of 24 bytes included. It depends on how full the
// maps happen to be, hence the different numbers of channels.
func BenchmarkChannelMemory(b *testing.B) {
	for _, prefix := range []string{"", "app:"} {
		for _, channels := range []int{18_000, 60_000, 100_000, 120_000} {
			b.Run(fmt.Sprintf("prefix=%s/channels=%d", prefix, channels), func(b *testing.B) {
				s := redistest.Start(b)
				for b.Loop() {
					bus, err := New(Options{URL: s.URL(), Prefix: prefix})
					if err != nil {
						b.Fatal(err)
					}
					if err := bus.Start(&counter{}); err != nil {
						b.Fatal(err)
					}
					awaitReady(b, bus)
					before := heap()
					const perRound = 1000
					for i := 0; i < channels; i += perRound {
						names := make([]string, perRound)
						for j := range names {
							names[j] = fmt.Sprintf("channel-%016d", i+j)
						}
						subscribeAll(b, bus, names)
					}
					b.ReportMetric(float64(heap()-before)/float64(channels), "B/channel")
					bus.Close()
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

package scenario

import (
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
	"github.com/tandem-ws/tandem/compare/workload"
)

const (
	restartDown = 500 * time.Millisecond // how long Redis is away
	// probeRate is how many messages a second detect that delivery works again
	probeRate = 10
)

var restart = Scenario{
	Name: "redis-restart", Title: "Redis restart",
	Shows: "What a crash of Redis does: whether connections are kept, how long it takes until every one of them receives again once Redis is back, and how many messages each missed (Redis Pub/Sub delivers at most once: what is published while the server is away from Redis is gone, and clients are told).",
	// Gaps are announced at a rate that suits a full node; what counts here is the
	// server's own time.
	Env:   []string{"GAP_RATE=100000"},
	Lossy: true, OwnServer: "the Redis of an external server is not ours to kill",
	sizes: map[string]Size{
		"tiny":  {Connections: []int{100}, Bytes: 128, Settle: 1e8},
		"quick": {Connections: []int{1000}, Bytes: 128, Settle: 3e8},
		// No more than what every variant delivers in time on one core, 10 times a second.
		"full": {Connections: []int{3000}, Bytes: 128, Settle: 1e9},
	},
	describe: func(s Size) string {
		return fmt.Sprintf("%s on one channel, Redis killed and started again after %v, %d messages a second from then on", connections(s.most()), restartDown, probeRate)
	},
	windows: one, extra: 2 * time.Second,
	run: runRestart,
}

func runRestart(b *bench) error {
	n := b.size.most()
	if _, err := b.Connect(testbed.Connections{N: n, Channel: shared}); err != nil {
		return err
	}
	before, err := b.verifyNumbers(n, settleTime)
	if err != nil {
		return err
	}
	if err := b.Idle(b.size.Settle); err != nil {
		return err
	}
	w, err := b.Begin()
	if err != nil {
		return err
	}
	if err := b.KillRedis(); err != nil {
		return err
	}
	if err := b.Idle(restartDown); err != nil {
		return err
	}
	if err := b.RestartRedis(); err != nil {
		return err
	}
	back := time.Now()
	p, err := b.Publisher(shared, 1, before)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	// one message at a time, until one reaches every connection
	err = b.Await(time.Minute, func() (bool, error) {
		if _, err := b.Publish(p, workload.Plan{Count: 1, Size: b.size.Bytes}); err != nil {
			return false, err
		}
		sent := time.Now()
		answers, err := b.Do(load.Command{Cmd: load.Settle, LastEach: p.Sent(), TimeoutMS: 1000 / probeRate, Patient: true})
		if err != nil {
			return false, err
		}
		have, again := 0, int64(0)
		for i := range answers {
			have += answers[i].Subscribed
			again += answers[i].Total.Resubscribed
		}
		// every connection is told of the gap and subscribes again; settle is
		// answered before its time only when all have the message
		return have == n && again >= int64(n) && time.Since(sent) < time.Second/probeRate, nil
	})
	if err != nil {
		return fmt.Errorf("not all connections receive again: %w", err)
	}
	took := time.Since(back)
	m, err := w.End()
	if err != nil {
		return err
	}
	s := b.sample("", float64(n), m)
	s.Latency = ""
	s.Values[result.Recovery] = took.Seconds()
	s.Values[result.Kept] = float64(n-lostConnections(m, n)) / float64(n) * 100
	s.Values[result.LostPerClient] = float64(m.Counters.Lost) / float64(n)
	s.Values[result.RecoveryCPU] = microsPer(m, int64(n))
	b.keep(s)
	return nil
}

// lostConnections returns how many of n are gone.
func lostConnections(m testbed.Measured, n int) int { return max(n-m.Connected, 0) }

// verifyNumbers sends one message to all of n connections and returns the sequence
// numbers after which a later publisher continues.
func (b *bench) verifyNumbers(n int, limit time.Duration) ([]uint32, error) {
	counters, err := b.verify(limit)
	if err != nil {
		return nil, err
	}
	if counters.Delivered != int64(n) {
		return nil, fmt.Errorf("%w: %d of %d connections received a message within %v", testbed.ErrRun, counters.Delivered, n, limit)
	}
	return []uint32{1}, nil
}

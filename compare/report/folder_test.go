package report

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/result"
)

// repeats of every variant in the folder that tests read.
const repeats = 5

// folder writes a results folder: two variants, a scenario of each kind, one run that
// failed, one that lost messages, one scenario that was not run. edit changes it
// before it is written.
func folder(t *testing.T, edit func(*result.Manifest, *[]result.Sample)) string {
	t.Helper()
	start := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	m := result.Manifest{
		Started: start, Ended: start.Add(3 * time.Minute), Profile: "full", Planned: 41, Done: 40, Partial: "1 of 41 runs failed",
		Repeats: repeats, Order: "A B in odd repeats and B A in even ones", Commit: "abc123", Server: "tandem 1.0", Go: "go1.26",
		Redis:    result.Redis{Version: "redis-server 7.0"},
		Host:     result.Host{OS: "linux", Arch: "amd64", Kernel: "6.18", CPU: "Test CPU", CPUs: 2, Memory: 8 << 30},
		Limits:   result.Limits{Files: 20000, Settings: map[string]string{"net.core.somaxconn": "4096"}},
		CPUs:     result.CPUs{Server: []int{0}, Load: []int{1}, Redis: []int{1}, Says: "server on CPU [0]; the rest on [1]"},
		Variants: []result.Variant{{Name: "idiomatic", Env: []string{"MODE=idiomatic"}}, {Name: "optimized", Env: []string{"MODE=optimized"}}},
		Scenarios: []result.Scenario{
			{Name: "idle", Title: "Idle memory", Shows: "Memory.", Load: "100 to 200 connections"},
			{Name: "storm", Title: "Connect storm", Shows: "Connects.", Load: "200 connections"},
			{Name: "broadcast", Title: "Broadcast at fixed rates", Shows: "Deliveries.", Load: "200 connections", Env: []string{"SEND_QUEUE=8"}},
			{Name: "frozen", Title: "1% frozen clients", Shows: "Others.", Load: "200 connections"},
			{Name: "redis-restart", Title: "Redis restart", Shows: "Recovery.", Load: "200 connections"},
			{Name: "ledger", Title: "The article's ledger", Shows: "Bytes.", Load: "100 to 200 connections"},
		},
		Skipped: []result.Skipped{{Variant: "idiomatic", Scenario: "redis-restart", Why: "<b>not ours</b>"}, {Variant: "optimized", Scenario: "redis-restart", Why: "not ours"}},
		Failed:  []result.Failed{{Variant: "optimized", Scenario: "storm", Repeat: 5, Why: "the server died: <script>boom()</script>"}},
		Args:    []string{"-profile", "full"}, Repeat: "go run ./compare run -profile full",
	}
	var samples []result.Sample
	add := func(s result.Sample) {
		s.Start, s.Seconds, s.Connections = start, 1, 200
		s.Bound = result.BoundRate
		s.Use = result.Use{Server: 0.25, Load: 0.5, ServerCPUs: 1, LoadCPUs: 1}
		s.Expected, s.Counters.Delivered = 200, 200
		samples = append(samples, s)
	}
	for i := 1; i <= repeats; i++ {
		step := float64(i - 3) // -2 to 2: the median is what is written below
		for _, a := range []struct {
			name                                 string
			memory, connect, delivery, p99, idle float64
		}{{"idiomatic", 24000, 80, 14, 10, 5}, {"optimized", 240, 20, 14, 20, 0.2}} {
			add(result.Sample{Variant: a.name, Scenario: "idle", Point: "100 connections", X: 100, Repeat: i, Values: map[string]float64{result.PSS: a.idle + 20}})
			add(result.Sample{Variant: a.name, Scenario: "idle", Point: "200 connections", X: 200, Repeat: i, Values: map[string]float64{
				result.PSS: 2*a.idle + 20, result.PerConnection: a.memory + step, result.Kernel: 6000,
			}})
			if a.name != "optimized" || i != 5 {
				add(result.Sample{Variant: a.name, Scenario: "storm", X: 200, Repeat: i, ConnectTime: histogram(t, 5e6, 50),
					Values: map[string]float64{result.ConnectCPU: a.connect + step, result.ConnectP99: 9}})
			}
			for _, rate := range []float64{3, 6} {
				add(result.Sample{Variant: a.name, Scenario: "broadcast", Point: plainly(rate) + " a second", X: rate, Repeat: i, Latency: histogram(t, int64(a.p99*1e6/2), 200),
					Values: map[string]float64{result.DeliveryCPU: a.delivery + step/2, result.P99: a.p99 + step/4, result.Max: 99}})
			}
			if a.name == "optimized" {
				// less than before: bars to the left
				add(result.Sample{Variant: a.name, Scenario: "frozen", X: 40, Repeat: i, Values: map[string]float64{result.P99: 9, result.Growth: -3 + step/2}})
			} else {
				add(result.Sample{Variant: a.name, Scenario: "frozen", X: 40, Repeat: i, Values: map[string]float64{result.P99: 9, result.Growth: 0.5}})
			}
			add(result.Sample{Variant: a.name, Scenario: "ledger", X: 200, Repeat: i, Values: map[string]float64{
				result.LedgerStacks: a.memory / 2, result.LedgerRead: a.memory / 4, result.LedgerHeadroom: a.memory / 4, result.LedgerTotal: a.memory + 100, result.LedgerKernel: 3100,
			}})
		}
	}
	if edit != nil {
		edit(&m, &samples)
	}
	path := filepath.Join(t.TempDir(), "results")
	w, err := result.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(samples); err != nil {
		t.Fatal(err)
	}
	if err := w.Manifest(&m); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// lossy takes 7 messages from one run of optimized in the first broadcast.
func lossy(_ *result.Manifest, samples *[]result.Sample) {
	for i := range *samples {
		if s := &(*samples)[i]; s.Variant == "optimized" && s.X == 3 && s.Repeat == 2 {
			s.Counters.Delivered -= 7
			s.Inspect(false)
			return
		}
	}
}

// histogram of n values from around to twice that.
func histogram(t *testing.T, around int64, n int) load.Histogram {
	t.Helper()
	h := hdrhistogram.New(1000, 60e9, 3)
	for i := range n {
		if err := h.RecordValue(around + around*int64(i)/int64(n)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	return load.Histogram(b)
}

func read(t *testing.T, path string) *Report {
	t.Helper()
	r, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fileText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

package result

import (
	"fmt"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
)

// Sample is one measured point of one run: a variant in a scenario, at one rate or
// number of connections. A run that fails leaves no samples.
type Sample struct {
	Variant  string `json:"arm"`
	Scenario string `json:"scenario"`
	// Point is the name of the point, "" if the scenario has only one. X is its number
	// (connections, messages a second), for axes.
	Point string  `json:"point,omitempty"`
	X     float64 `json:"x,omitempty"`
	// Repeat counts from 1.
	Repeat int       `json:"repeat"`
	Start  time.Time `json:"start"`
	// Seconds is the duration of the measured window.
	Seconds     float64 `json:"seconds"`
	Connections int     `json:"connections"`
	// Values are the figures, by the ID of a Metric.
	Values map[string]float64 `json:"values"`
	// Expected is how many deliveries were due, and Counters what became of them.
	Expected int64         `json:"expected"`
	Counters load.Counters `json:"counters"`
	// Latency is measured from the intended send time to delivery, and ConnectTime
	// from the intended start to the confirmed subscription.
	Latency     load.Histogram `json:"latency,omitempty"`
	ConnectTime load.Histogram `json:"connect_time,omitempty"`
	Use         Use            `json:"use"`
	// Bound is what limited the run; see Use.Bound.
	Bound string `json:"bound"`
	// Flaws are reasons not to trust the figures, one a line.
	Flaws []string `json:"flaws,omitempty"`
}

// Use is how busy the processes were in the measured window, in CPUs (1 means one CPU
// all the time).
type Use struct {
	Server float64 `json:"server"`
	Load   float64 `json:"load"`
	Redis  float64 `json:"redis"`
	// Compare is this program itself, which publishes.
	Compare float64 `json:"compare"`
	// ServerCPUs is how many CPUs the server has, and LoadCPUs how many load, Redis
	// and compare have together. Shared means that these are the same.
	ServerCPUs int  `json:"server_cpus"`
	LoadCPUs   int  `json:"load_cpus"`
	Shared     bool `json:"shared,omitempty"`
	// RedisApart means that Redis has a CPU for itself.
	RedisApart bool `json:"redis_apart,omitempty"`
	// Busy is the share of time in which the busiest load process was not waiting.
	Busy float64 `json:"busy"`
	// Others is what everything else on the machine used, including steal by its host.
	Others float64 `json:"others"`
	// Lag is how far the publisher was behind its schedule at most, in seconds.
	Lag float64 `json:"lag"`
}

// What can limit a run.
const (
	BoundServer  = "server CPU"
	BoundLoad    = "load CPU"
	BoundRedis   = "Redis CPU"
	BoundShared  = "CPU shared by all"
	BoundPublish = "publisher"
	BoundOthers  = "other programs"
	BoundRate    = "the offered load"
)

const (
	// full is the share of a CPU that counts as used up.
	full = 0.9
	// noisy is how many CPUs others may use before they count as a disturbance: they
	// affect caches too.
	noisy = 0.15
)

// Bound returns what limited the run. BoundRate means that nothing did: the server had
// CPU to spare.
func (u Use) Bound() string {
	others := u.Load + u.Compare
	if !u.RedisApart {
		others += u.Redis
	}
	switch {
	case u.Shared && u.Server+others >= full*float64(u.ServerCPUs):
		return BoundShared
	case u.ServerCPUs > 0 && u.Server >= full*float64(u.ServerCPUs):
		return BoundServer
	case u.Redis >= full:
		return BoundRedis
	case u.Busy >= full || u.LoadCPUs > 0 && others >= full*float64(u.LoadCPUs):
		return BoundLoad
	case u.Others >= noisy:
		return BoundOthers
	case u.Lag > 0.1:
		return BoundPublish
	}
	return BoundRate
}

// Missing returns how many deliveries that were due did not happen.
func (s *Sample) Missing() int64 { return max(s.Expected-s.Counters.Delivered, s.Counters.Lost, 0) }

// Inspect adds a flaw for every way in which messages were not delivered correctly.
// lossy means that the scenario itself loses messages, so that losses are a figure
// instead of a flaw.
func (s *Sample) Inspect(lossy bool) {
	c := s.Counters
	for _, f := range []struct {
		n     int64
		what  string
		allow bool
	}{
		{s.Missing(), "lost", lossy},
		{c.Duplicated, "duplicated", false},
		{c.Reordered, "reordered", false},
		{c.Misrouted, "delivered to the wrong channel", false},
		{c.Early, "delivered before the subscription was confirmed", false},
		{c.Unknown, "not understood", false},
	} {
		if f.n > 0 && !f.allow {
			s.Flaws = append(s.Flaws, fmt.Sprintf("%d of %d %s", f.n, max(s.Expected, c.Delivered), f.what))
		}
	}
}

// Sound reports whether the figures can be trusted.
func (s *Sample) Sound() bool { return len(s.Flaws) == 0 }

// Name returns the scenario and the point in one string.
func (s *Sample) Name() string { return strings.TrimSpace(s.Scenario + " " + s.Point) }

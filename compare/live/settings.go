package live

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tandem-ws/tandem/compare/workload"
)

// ErrSettings means that settings are out of bounds; nothing was changed.
var ErrSettings = errors.New("live: settings out of bounds")

// Settings are the load that each mode gets.
type Settings struct {
	// Connections is the number of connections of each mode.
	Connections int `json:"connections"`
	// Rate is messages published a second, in all channels together.
	Rate int `json:"rate"`
	// Size of a message's payload in bytes.
	Size int `json:"size"`
	// Channels is the number of channels, which the connections are spread over
	// evenly.
	Channels int `json:"channels"`
}

// Defaults returns settings that suit two CPUs.
func Defaults() Settings { return Settings{Connections: 2000, Rate: 5, Size: 128, Channels: 1} }

// deliveries returns how many messages a second the connections of one mode receive.
func (s Settings) deliveries() int { return s.Connections * s.Rate / max(s.Channels, 1) }

// Range is a pair of inclusive bounds.
type Range struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// Bounds limit settings.
type Bounds struct {
	Connections Range `json:"connections"`
	Rate        Range `json:"rate"`
	Size        Range `json:"size"`
	Channels    Range `json:"channels"`
	// Deliveries limits connections x rate / channels.
	Deliveries int `json:"deliveries"`
}

const (
	maxConnections = 50_000
	maxRate        = 1000
	maxSize        = 16 << 10
	maxChannels    = 1000
	// one CPU handles fewer: the page may show a server at its limit
	deliveriesPerCPU = 50_000
)

// bounds returns those for processes that may open so many descriptors on so many
// CPUs. A connection takes a descriptor in the server and one in the load process;
// some are left for everything else.
func bounds(descriptors uint64, cpus int) Bounds {
	room := max(int(min(descriptors, 4*maxConnections))-2000, 100)
	return Bounds{
		Connections: Range{0, min(room/2, maxConnections)},
		Rate:        Range{0, maxRate},
		Size:        Range{workload.MinSize, maxSize},
		Channels:    Range{1, maxChannels},
		Deliveries:  max(cpus, 2) * deliveriesPerCPU,
	}
}

// fields returns the settings by their name in JSON.
func (s Settings) fields(b Bounds) map[string]struct {
	value int
	Range
} {
	return map[string]struct {
		value int
		Range
	}{
		"connections": {s.Connections, b.Connections},
		"rate":        {s.Rate, b.Rate},
		"size":        {s.Size, b.Size},
		"channels":    {s.Channels, b.Channels},
	}
}

// Check returns nil, or an Invalid that says what to change.
func (b Bounds) Check(s Settings) error {
	wrong := Invalid{}
	for name, f := range s.fields(b) {
		if f.value < f.Min || f.value > f.Max {
			wrong[name] = fmt.Sprintf("%d is out of bounds: choose %d to %d", f.value, f.Min, f.Max)
		}
	}
	if n := s.deliveries(); len(wrong) == 0 && n > b.Deliveries {
		wrong["deliveries"] = fmt.Sprintf("that would be %d deliveries a second for each mode: "+
			"this machine is allowed %d; choose fewer connections or messages, or more channels", n, b.Deliveries)
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

// Invalid describes what is wrong with settings, by name in JSON; "deliveries" stands
// for all of them together. It wraps ErrSettings.
type Invalid map[string]string

// Error lists every field on one line.
func (w Invalid) Error() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(w)) {
		parts = append(parts, name+": "+w[name])
	}
	return ErrSettings.Error() + ": " + strings.Join(parts, "; ")
}

// Unwrap makes errors.Is find ErrSettings.
func (Invalid) Unwrap() error { return ErrSettings }

// controls holds the current settings. Its methods may be called by several
// goroutines.
type controls struct {
	bounds Bounds

	mu      sync.Mutex // guards what follows
	now     Settings
	changed chan struct{} // closed at the next change
}

func newControls(b Bounds, s Settings) *controls {
	return &controls{bounds: b, now: s, changed: make(chan struct{})}
}

// get returns the settings and a channel that is closed when they change.
func (c *controls) get() (Settings, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.changed
}

// set applies s, or returns why it cannot.
func (c *controls) set(s Settings) error {
	if err := c.bounds.Check(s); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != c.now {
		c.now = s
		close(c.changed)
		c.changed = make(chan struct{})
	}
	return nil
}

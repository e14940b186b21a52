package modes

import (
	"errors"
	"slices"
	"testing"

	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

func newTestDoor(t *testing.T, o DoorOptions) (*Door, *Stats) {
	t.Helper()
	stats := NewStats()
	d, err := NewDoor(o, session.Rules{MaxChannels: 2, MaxChannelLength: 5}, stats)
	if err != nil {
		t.Fatal(err)
	}
	return d, stats
}

func TestDoorOrigins(t *testing.T) {
	for name, c := range map[string]struct {
		allowed      []string
		host, origin string
		in           bool
	}{
		"no origin":        {nil, "a.example", "", true},
		"same host":        {nil, "a.example:8080", "http://A.example:8080", true},
		"other port":       {nil, "a.example:8080", "http://a.example", false},
		"other host":       {nil, "a.example", "https://b.example", false},
		"no URL":           {nil, "a.example", "null", false},
		"anyone":           {[]string{"*"}, "a.example", "https://b.example", true},
		"listed":           {[]string{"https://b.example"}, "a.example", "https://B.example", true},
		"listed host":      {[]string{"b.example"}, "a.example", "http://b.example", true},
		"not the own host": {[]string{"https://b.example"}, "a.example", "https://a.example", false},
		"pattern":          {[]string{"https://*.b.example"}, "a.example", "https://x.b.example", true},
		"beyond a pattern": {[]string{"https://*.b.example"}, "a.example", "https://x.b.example.evil", false},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := newTestDoor(t, DoorOptions{AllowedOrigins: c.allowed})
			if got := d.Admit(c.host, c.origin); (got == nil) != c.in {
				t.Errorf("host %q origin %q: %v, want in %v", c.host, c.origin, got, c.in)
			}
		})
	}
	if _, err := NewDoor(DoorOptions{AllowedOrigins: []string{"["}}, session.Rules{}, NewStats()); !errors.Is(err, ErrOriginPattern) {
		t.Errorf("a broken pattern: %v", err)
	}
}

func TestDoorLimits(t *testing.T) {
	d, stats := newTestDoor(t, DoorOptions{MaxConnections: 2})
	stats.Connections[wire.Raw].Add(1)
	if got := d.Admit("", ""); got != nil {
		t.Errorf("below the limit: %v", got)
	}
	stats.Connections[wire.JSON].Add(1)
	if got := d.Admit("", ""); got != RefusedFull {
		t.Errorf("at the limit: %v", got)
	}
	d, _ = newTestDoor(t, DoorOptions{ConnectRate: 1})
	if got := d.Admit("", ""); got != nil {
		t.Errorf("the first: %v", got)
	}
	if got := d.Admit("", ""); got != RefusedRate {
		t.Errorf("the second at once: %v", got)
	}
}

func TestDoorChannels(t *testing.T) {
	for query, want := range map[string]struct {
		channels []string
		refusal  *Refusal
	}{
		"channel=a&channel=b&channel=a": {channels: []string{"a", "b"}},
		"channel=%C3%A9&x=y":            {channels: []string{"é"}},
		"":                              {refusal: RefusedChannel},
		"channel=":                      {refusal: RefusedChannel},
		"channel=%zz":                   {refusal: RefusedChannel},
		"channel=toolong":               {refusal: RefusedChannel},
		"channel=a%0A":                  {refusal: RefusedChannel},
		"channel=%ff":                   {refusal: RefusedChannel},
		"channel=a&channel=b&channel=c": {refusal: RefusedChannels},
	} {
		d, _ := newTestDoor(t, DoorOptions{})
		if channels, refusal := d.Channels(query); !slices.Equal(channels, want.channels) || refusal != want.refusal {
			t.Errorf("%q: %q, %v; want %q, %v", query, channels, refusal, want.channels, want.refusal)
		}
	}
}

package handshake

import (
	"slices"
	"testing"

	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/session"
)

func TestChannels(t *testing.T) {
	rules := session.Rules{MaxChannels: 2, MaxChannelLength: 5, RedisPrefix: "__key"}
	for query, want := range map[string]struct {
		channels []string
		refusal  *admission.Refusal
	}{
		"channel=a&channel=b&channel=a": {channels: []string{"a", "b"}},
		"channel=%C3%A9&x=y":            {channels: []string{"é"}},
		"":                              {refusal: RefusedChannel},
		"channel=":                      {refusal: RefusedChannel},
		"channel=%zz":                   {refusal: RefusedChannel},
		"channel=toolong":               {refusal: RefusedChannel},
		"channel=space":                 {channels: []string{"space"}},
		"channel=a%0A":                  {refusal: RefusedChannel},
		"channel=%ff":                   {refusal: RefusedChannel},
		"channel=a&channel=b&channel=c": {refusal: RefusedChannels},
	} {
		if channels, refusal := Channels(&rules, query); !slices.Equal(channels, want.channels) || refusal != want.refusal {
			t.Errorf("%q: %q, %v; want %q, %v", query, channels, refusal, want.channels, want.refusal)
		}
	}
}

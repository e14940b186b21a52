package enginetest

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var reservedCases = []suiteCase{
	{"channels that Redis reserves", testReservedChannels},
	{"channels that Redis reserves/token", kit.EachKey(testReservedInToken)},
}

// Names that Redis reserves are not channels, on any endpoint and in any encoding.
func testReservedChannels(t *testing.T, build kit.Build) {
	for prefix, names := range map[string][]string{
		"":        {"__sentinel__:hello", "__keyspace@0__:key", "__keyevent@0__:set", "__redis__:invalidate", "__subkeyevent@0__:hset"},
		"__sent":  {"inel__:hello"},
		"__key":   {"space@0__:key", "event@0__:set"},
		"__redis": {"__:invalidate"},
	} {
		n := kit.Start(t, build, func(s *kit.Setup) { s.Rules.ClientPublish, s.Rules.RedisPrefix = true, prefix })
		for _, subprotocol := range []string{"", wire.ProtobufSubprotocol} {
			var headers []string
			if subprotocol != "" {
				headers = append(headers, "Sec-WebSocket-Protocol: "+subprotocol)
			}
			c := n.Open(t, modes.PathCentrifuge, headers...)
			for _, name := range names {
				c.ExpectError(c.Post(&protocol.Command{Connect: &protocol.ConnectRequest{
					Subs: map[string]*protocol.SubscribeRequest{"news": {}, name: {}}}}), 102)
			}
			c.Connect()
			for _, name := range names {
				for _, command := range []*protocol.Command{
					{Subscribe: &protocol.SubscribeRequest{Channel: name}},
					{Unsubscribe: &protocol.UnsubscribeRequest{Channel: name}},
					{Publish: &protocol.PublishRequest{Channel: name, Data: protocol.Raw("1")}},
					{History: &protocol.HistoryRequest{Channel: name}},
					{Presence: &protocol.PresenceRequest{Channel: name}},
					{PresenceStats: &protocol.PresenceStatsRequest{Channel: name}},
				} {
					c.ExpectError(c.Post(command), 102)
				}
			}
			c.Subscribe("news")
		}
		for _, name := range names {
			query := "?" + url.Values{"channel": {"news", name}}.Encode()
			c := n.Dial(t)
			c.Write(kit.Upgrade(modes.PathRaw + query).Bytes())
			c.ExpectRefusal(http.StatusForbidden)
			for path := range kit.Streams {
				c := n.Dial(t)
				c.Write(kit.Get(path + query).Bytes())
				c.ExpectRefusal(http.StatusForbidden)
			}
		}
		// Two clients have news.
		n.Bus.Send("news", "1")
		if got := n.Bus.References(); got > 2 {
			t.Errorf("prefix %q: Redis was asked for a channel that it reserves: %d references", prefix, got)
		}
	}
}

func testReservedInToken(t *testing.T, build kit.Build, s kit.Signer, tokens func(*kit.Setup)) {
	n := kit.Start(t, build, tokens)
	c := n.Open(t, modes.PathCentrifuge)
	if r := c.ConnectWith(s.Sign("channels", []string{"news", "__keyevent@0__:set"})); r.GetError().GetCode() != 102 {
		t.Errorf("a token that names a channel that Redis reserves: got %s, want error 102", kit.Show(r))
	}
	if got := n.Bus.References(); got != 0 {
		t.Errorf("Redis was asked for it: %d references", got)
	}
}

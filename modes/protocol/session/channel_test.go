package session

import (
	"fmt"
	"testing"

	"github.com/centrifugal/protocol"
)

func TestReserved(t *testing.T) {
	for _, name := range []string{"__sentinel__:hello", "__redis__:invalidate", "__keyspace@0__:key", "__keyevent@0__:set",
		"__keyevent@*__:*", "__subkeyspace@0__:key", "__subkeyevent@0__:hset", "__subkeyspaceitem@0__:k", "__subkeyspaceevent@0__:hset|k"} {
		for i := range len(name) {
			if !Reserved(name[:i], name[i:]) {
				t.Errorf("%q after the prefix %q is let in", name[i:], name[:i])
			}
			if Reserved("x"+name[:i], name[i:]) {
				t.Errorf("%q after the prefix %q is refused", name[i:], "x"+name[:i])
			}
		}
	}
	for _, name := range []string{"", "_", "__", "news", "__sentinel__", "__keyspace", "x__sentinel__:hello", "__SENTINEL__:hello",
		" __sentinel__:hello", "__keyspaces", "sentinel", "__sentinel_:x", "*", "__*", "a b", "{a}b"} {
		if Reserved("", name) {
			t.Errorf("%q is refused", name)
		}
	}
	if Reserved("app:", "__sentinel__:hello") {
		t.Error("a name with a prefix before it is Redis's no more, but is refused")
	}
}

// Names that Redis reserves are no channels, whatever the command and the encoding.
func TestReservedChannels(t *testing.T) {
	for prefix, channel := range map[string]string{"": "__keyevent@0__:set", "__sent": "inel__:hello"} {
		commands := map[string]*protocol.Command{
			"subscribe":      {Subscribe: &protocol.SubscribeRequest{Channel: channel}},
			"unsubscribe":    {Unsubscribe: &protocol.UnsubscribeRequest{Channel: channel}},
			"publish":        {Publish: &protocol.PublishRequest{Channel: channel, Data: []byte("1")}},
			"presence":       {Presence: &protocol.PresenceRequest{Channel: channel}},
			"presence stats": {PresenceStats: &protocol.PresenceStatsRequest{Channel: channel}},
			"history":        {History: &protocol.HistoryRequest{Channel: channel}},
			"sub refresh":    {SubRefresh: &protocol.SubRefreshRequest{Channel: channel, Token: "x"}},
		}
		const unknown = `{"id":%d,"error":{"code":102,"message":"unknown channel"}}`
		for encoding, p := range encodings {
			for name, c := range commands {
				s := newStage(t, func(r *Rules) { withTokens(r); r.RedisPrefix = prefix })
				s.says(`{"id":1,"connect":{"token":"user=u"}}`, connectOK)
				c.Id = 2
				s.session.Handle(&s.rules, p, s, encoded(t, p, c))
				s.expect(encoding+" "+name, fmt.Sprintf(unknown, 2))
			}
			s := newStage(t, func(r *Rules) { r.RedisPrefix = prefix })
			s.session.Handle(&s.rules, p, s, encoded(t, p, &protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{
				Subs: map[string]*protocol.SubscribeRequest{"a": {}, channel: {}}}}))
			s.expect(encoding+" connect", fmt.Sprintf(unknown, 1))
			// The answer does not depend on the order of a map.
			for range 20 {
				s.session.Handle(&s.rules, p, s, encoded(t, p, &protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{
					Subs: map[string]*protocol.SubscribeRequest{"a\n": {}, channel: {}}}}))
				s.expect(encoding+" connect", `{"id":1,"error":{"code":107,"message":"bad request"}}`)
			}
			s = newStage(t, func(r *Rules) { withTokens(r); r.RedisPrefix = prefix })
			s.session.Handle(&s.rules, p, s, encoded(t, p, &protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{
				Token: "user=u channels=a," + channel}}))
			s.expect(encoding+" token", fmt.Sprintf(unknown, 1))
			if len(s.subs) > 0 {
				t.Errorf("subscribed to %v", s.subs)
			}
		}
	}
}

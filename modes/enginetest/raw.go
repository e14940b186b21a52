package enginetest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/handshake"
)

var rawCases = []suiteCase{
	{"raw/101 after the confirmation", testRawConfirmation},
	{"raw/channels", testRawChannels},
	{"raw/refusals", testRawRefusals},
	{"raw/Redis fails", testRawFails},
	{"raw/Redis is away", testRawAway},
	{"raw/what the client sends", testRawSends},
}

func testRawConfirmation(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	release := n.Bus.Hold("news")
	raw := n.Dial(t)
	raw.Write(kit.Upgrade(modes.PathRaw + "?channel=other&channel=news").Bytes())
	n.Bus.AwaitWaiting(t, "news")
	// The whole exchange of another connection takes longer than an answer would.
	other := n.Session(t, "other")
	n.Bus.Send("other", "1")
	other.ExpectPush("other", "1")
	raw.ExpectSilence()
	release(nil)
	raw.ExpectUpgrade("")
	n.Bus.Send("other", "2")
	raw.Expect(kit.Text("2"))
	n.Bus.Send("news", "3")
	raw.Expect(kit.Text("3"))
}

func testRawChannels(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	odd := "a&b=c d/\u65b0"
	c := n.Open(t, modes.PathRaw+"?channel=a&channel=b&channel=a&x=y&channel="+url.QueryEscape(odd))
	for _, channel := range []string{"a", "b", odd} {
		n.Bus.Send(channel, "to "+channel)
		c.Expect(kit.Text("to " + channel))
	}
	if got := n.Stats.Subscriptions.Load(); got != 3 {
		t.Errorf("%d subscriptions are counted, want 3", got)
	}
	c.Leave()
	n.Settle(t)

	p := n.PublishAlways(t, "news")
	kit.Together(t, 10, func(t kit.Tester, _ int) {
		for range 5 {
			raw := n.Open(t, modes.PathRaw+"?channel=news")
			next := p.Next.Load()
			first := int64(-1)
			for i := range int64(20) {
				var number int64
				if _, err := fmt.Sscan(string(raw.Message().Body), &number); err != nil {
					t.Fatalf("payload: %v", err)
				}
				if first < 0 {
					first = number
				}
				if first > next || number != first+i {
					t.Fatalf("got %d as message %d after %d, which follows the handshake at %d", number, i, first, next)
				}
			}
			raw.Leave()
		}
	})
}

func testRawRefusals(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, func(s *kit.Setup) { s.Rules.MaxChannels = 3 })
	for _, query := range []string{
		"", "?", "?channel=", "?channel=a&channel=", "?other=a", "?channel=" + strings.Repeat("x", 256),
		"?channel=%ff", "?channel=a%00", "?channel=%zz", "?channel=a&channel=b&channel=c&channel=d",
	} {
		t.Run(query[:min(len(query), 20)], func(t *testing.T) {
			c := n.Dial(t)
			c.Write(kit.Upgrade(modes.PathRaw + query).Bytes())
			c.ExpectRefusal(http.StatusBadRequest)
		})
	}
	n.Settle(t)
}

func testRawFails(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	release := n.Bus.Hold("bad")
	c := n.Dial(t)
	c.Write(kit.Upgrade(modes.PathRaw + "?channel=good&channel=bad&channel=also%20good").Bytes())
	n.Bus.AwaitWaiting(t, "bad")
	release(kit.ErrRefused)
	c.ExpectRefusal(http.StatusServiceUnavailable)
	kit.AwaitCount(t, n.Stats.Refused, handshake.RefusedUnavailable.Reason, 1)
	n.Settle(t)
}

// While Redis is away no client with channels in its URL is accepted, not even for a
// channel that others hold: it could not be told what it misses meanwhile.
func testRawAway(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	first := n.Open(t, modes.PathRaw+"?channel=news")
	n.Bus.GoAway(true)
	raw := n.Dial(t)
	raw.Write(kit.Upgrade(modes.PathRaw + "?channel=news").Bytes())
	raw.ExpectRefusal(http.StatusServiceUnavailable)
	for path := range kit.Streams {
		c := n.Dial(t)
		c.Write(kit.Get(path + "?channel=news").Bytes())
		c.ExpectRefusal(http.StatusServiceUnavailable)
	}
	kit.AwaitCount(t, n.Stats.Refused, handshake.RefusedUnavailable.Reason, 1+len(kit.Streams))
	n.Bus.GoAway(false)
	second := n.Open(t, modes.PathRaw+"?channel=news")
	n.Bus.Send("news", "1")
	first.Expect(kit.Text("1"))
	second.Expect(kit.Text("1"))
}

// A raw connection is for reading; what the client sends is read and dropped.
func testRawSends(t *testing.T, build kit.Build) {
	n := kit.Start(t, build, nil)
	c := n.Open(t, modes.PathRaw+"?channel=news")
	c.Send(kit.Text("hello"), kit.BinaryFrame("\xff"), kit.Text(`{"id":1,"connect":{}}`))
	c.RoundTripPing()
	n.Bus.Send("news", "1")
	c.Expect(kit.Text("1"))
	c.Send(kit.Closing(1000, ""))
	c.Expect(kit.Closing(1000, ""))
	c.ExpectCleanEnd()
}

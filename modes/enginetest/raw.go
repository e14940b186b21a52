package enginetest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/modes"
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

func testRawConfirmation(t *testing.T, build Build) {
	n := start(t, build, nil)
	release := n.bus.hold("news")
	raw := n.dial(t)
	raw.write(upgrade(modes.PathRaw + "?channel=other&channel=news").bytes())
	n.bus.awaitWaiting(t, "news")
	// The whole exchange of another connection takes longer than an answer would.
	other := n.session(t, "other")
	n.bus.publish("other", "1")
	other.expectPush("other", "1")
	raw.expectSilence()
	release(nil)
	raw.expectUpgrade("")
	n.bus.publish("other", "2")
	raw.expect(text("2"))
	n.bus.publish("news", "3")
	raw.expect(text("3"))
}

func testRawChannels(t *testing.T, build Build) {
	n := start(t, build, nil)
	odd := "a&b=c d/\u65b0"
	c := n.open(t, modes.PathRaw+"?channel=a&channel=b&channel=a&x=y&channel="+url.QueryEscape(odd))
	for _, channel := range []string{"a", "b", odd} {
		n.bus.publish(channel, "to "+channel)
		c.expect(text("to " + channel))
	}
	if got := n.stats.Subscriptions.Load(); got != 3 {
		t.Errorf("%d subscriptions are counted, want 3", got)
	}
	c.leave()
	n.settle(t)

	p := n.publishAlways(t, "news")
	together(t, 10, func(t tester, _ int) {
		for range 5 {
			raw := n.open(t, modes.PathRaw+"?channel=news")
			next := p.next.Load()
			first := int64(-1)
			for i := range int64(20) {
				var number int64
				if _, err := fmt.Sscan(string(raw.message().body), &number); err != nil {
					t.Fatalf("payload: %v", err)
				}
				if first < 0 {
					first = number
				}
				if first > next || number != first+i {
					t.Fatalf("got %d as message %d after %d, which follows the handshake at %d", number, i, first, next)
				}
			}
			raw.leave()
		}
	})
}

func testRawRefusals(t *testing.T, build Build) {
	n := start(t, build, func(s *setup) { s.rules.MaxChannels = 3 })
	for _, query := range []string{
		"", "?", "?channel=", "?channel=a&channel=", "?other=a", "?channel=" + strings.Repeat("x", 256),
		"?channel=%ff", "?channel=a%00", "?channel=%zz", "?channel=a&channel=b&channel=c&channel=d",
	} {
		t.Run(query[:min(len(query), 20)], func(t *testing.T) {
			c := n.dial(t)
			c.write(upgrade(modes.PathRaw + query).bytes())
			c.expectRefusal(http.StatusBadRequest)
		})
	}
	n.settle(t)
}

func testRawFails(t *testing.T, build Build) {
	n := start(t, build, nil)
	release := n.bus.hold("bad")
	c := n.dial(t)
	c.write(upgrade(modes.PathRaw + "?channel=good&channel=bad&channel=also%20good").bytes())
	n.bus.awaitWaiting(t, "bad")
	release(errRefused)
	c.expectRefusal(http.StatusServiceUnavailable)
	awaitCount(t, n.stats.Refused, handshake.RefusedUnavailable.Reason, 1)
	n.settle(t)
}

// While Redis is away no client with channels in its URL is accepted, not even for a
// channel that others hold: it could not be told what it misses meanwhile.
func testRawAway(t *testing.T, build Build) {
	n := start(t, build, nil)
	first := n.open(t, modes.PathRaw+"?channel=news")
	n.bus.goAway(true)
	raw := n.dial(t)
	raw.write(upgrade(modes.PathRaw + "?channel=news").bytes())
	raw.expectRefusal(http.StatusServiceUnavailable)
	for path := range streams {
		c := n.dial(t)
		c.write(get(path + "?channel=news").bytes())
		c.expectRefusal(http.StatusServiceUnavailable)
	}
	awaitCount(t, n.stats.Refused, handshake.RefusedUnavailable.Reason, 1+len(streams))
	n.bus.goAway(false)
	second := n.open(t, modes.PathRaw+"?channel=news")
	n.bus.publish("news", "1")
	first.expect(text("1"))
	second.expect(text("1"))
}

// A raw connection is for reading; what the client sends is read and dropped.
func testRawSends(t *testing.T, build Build) {
	n := start(t, build, nil)
	c := n.open(t, modes.PathRaw+"?channel=news")
	c.send(text("hello"), binaryFrame("\xff"), text(`{"id":1,"connect":{}}`))
	c.roundTripPing()
	n.bus.publish("news", "1")
	c.expect(text("1"))
	c.send(closing(1000, ""))
	c.expect(closing(1000, ""))
	c.expectCleanEnd()
}

package enginetest

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
)

// publisher publishes 0, 1, 2 … to a channel, until it is stopped.
type publisher struct {
	// next is the least number whose publishing has not begun.
	next atomic.Int64
	// stop ends it, and returns once nothing more is published. It may be
	// called repeatedly.
	stop func()
}

// publishAlways publishes to channel at a steady rate that leaves clients time
// to read.
func (n *node) publishAlways(t *testing.T, channel string) *publisher {
	return publishSteadily(t, func(number string) { n.bus.publish(channel, number) })
}

// publishSteadily calls publish at a steady rate that leaves clients time to read.
func publishSteadily(t *testing.T, publish func(number string)) *publisher {
	p := &publisher{}
	quit := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			publish(strconv.FormatInt(p.next.Add(1)-1, 10))
		}
	}()
	var stopped atomic.Bool
	p.stop = func() {
		if !stopped.Swap(true) {
			close(quit)
		}
		<-ended
	}
	t.Cleanup(p.stop)
	return p
}

// number is the number that a publication to channel carries.
func (c *client) number(r *protocol.Reply, channel string) int64 {
	c.t.Helper()
	if r.GetPush().GetPub() == nil || r.Push.Channel != channel {
		c.t.Fatalf("got %s, want a publication to %q", show(r), channel)
	}
	number, err := strconv.ParseInt(string(r.Push.Pub.Data), 10, 64)
	if err != nil {
		c.t.Fatalf("publication %s: %v", show(r), err)
	}
	return number
}

// expectContiguous takes many publications to channel, of which the first may
// be no later than next, and returns the number of the last.
func (c *client) expectContiguous(channel string, next int64, many int) int64 {
	c.t.Helper()
	last := c.number(c.next(), channel)
	if last > next {
		c.t.Fatalf("the first publication after the reply is %d: lost from %d on", last, next)
	}
	for range many - 1 {
		number := c.number(c.next(), channel)
		if number != last+1 {
			c.t.Fatalf("got publication %d after %d", number, last)
		}
		last = number
	}
	return last
}

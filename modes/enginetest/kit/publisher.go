package kit

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
)

// Publisher publishes 0, 1, 2 … to a channel, until it is stopped.
type Publisher struct {
	// Next is the least number whose publishing has not begun.
	Next atomic.Int64
	// Stop ends it, and returns once nothing more is published. It may be
	// called repeatedly.
	Stop func()
}

// PublishAlways publishes to channel at a steady rate that leaves clients time
// to read.
func (n *Node) PublishAlways(t *testing.T, channel string) *Publisher {
	return PublishSteadily(t, func(number string) { n.Bus.Send(channel, number) })
}

// PublishSteadily calls publish at a steady rate that leaves clients time to read.
func PublishSteadily(t *testing.T, publish func(number string)) *Publisher {
	p := &Publisher{}
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
			publish(strconv.FormatInt(p.Next.Add(1)-1, 10))
		}
	}()
	var stopped atomic.Bool
	p.Stop = func() {
		if !stopped.Swap(true) {
			close(quit)
		}
		<-ended
	}
	t.Cleanup(p.Stop)
	return p
}

// Number is the number that a publication to channel carries.
func (c *Client) Number(r *protocol.Reply, channel string) int64 {
	c.T.Helper()
	if r.GetPush().GetPub() == nil || r.Push.Channel != channel {
		c.T.Fatalf("got %s, want a publication to %q", Show(r), channel)
	}
	number, err := strconv.ParseInt(string(r.Push.Pub.Data), 10, 64)
	if err != nil {
		c.T.Fatalf("publication %s: %v", Show(r), err)
	}
	return number
}

// ExpectContiguous takes many publications to channel, of which the first may
// be no later than next, and returns the number of the last.
func (c *Client) ExpectContiguous(channel string, next int64, many int) int64 {
	c.T.Helper()
	last := c.Number(c.Next(), channel)
	if last > next {
		c.T.Fatalf("the first publication after the reply is %d: lost from %d on", last, next)
	}
	for range many - 1 {
		number := c.Number(c.Next(), channel)
		if number != last+1 {
			c.T.Fatalf("got publication %d after %d", number, last)
		}
		last = number
	}
	return last
}

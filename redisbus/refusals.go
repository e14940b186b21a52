package redisbus

import (
	"fmt"
	"slices"
	"time"
)

// maxRetryPauses is how many of the longest pauses between two attempts to connect
// may lie between two attempts to subscribe to what Redis refuses. Each costs Redis
// a command or two for every such channel.
const maxRetryPauses = 15

// refuse enters that Redis answered the SUBSCRIBE of the names with an error. It
// does not say which name is to blame, so both halves are asked for again; the
// calls that wait for a single name get err, and keep no reference. If others hold
// it, from before the link broke, it is asked for again after a pause.
func (c *channels) refuse(names []string, now time.Duration, err error) (refused answers) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(names) > 1 {
		half := len(names) / 2
		c.retry = append(c.retry, names[half:], names[:half])
		return refused
	}
	channel := c.channel(names[0])
	c.resolve(channel, fmt.Errorf("redisbus: subscribe: %w", err), &refused)
	ref := c.refs[channel]
	if ref.count == 0 {
		delete(c.refs, channel)
		return refused
	}
	if len(c.denied) == 0 {
		c.retryAt = now + c.retryPause.take()
	}
	c.denied[channel] = err
	ref.state = detached
	c.closeGap(ref)
	return refused
}

// queueDenied has what Redis refuses asked for again, if it is time.
func (c *channels) queueDenied(now time.Duration) {
	if len(c.denied) == 0 || now < c.retryAt {
		return
	}
	c.retryAt = now + c.retryPause.take()
	for channel := range c.denied {
		if ref := c.refs[channel]; ref.state == detached {
			ref.state = queued
			c.queue = append(c.queue, c.prefix+channel)
		}
	}
}

// refusals returns how many channels are referenced and refused by Redis, the
// first few of them, in order, and one of the reasons.
func (c *channels) refusals() (count int, some []string, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for channel, err := range c.denied {
		some = append(some, channel)
		reason = err
	}
	slices.Sort(some)
	return len(some), some[:min(len(some), maxNamed)], reason
}

// maxNamed is how many channels are named where there may be many.
const maxNamed = 5

package session

import "math"

// maxBurst keeps twice a burst within what a session counts to.
const maxBurst = math.MaxUint16/2 - 1

// pace is how many commands a connection has sent lately: a bucket that leaks
// CommandRate a second. It lies in the Session and takes no memory of its own. The
// seconds are counted modulo 256: a client that comes back after that time to
// the second finds its bucket as it was, which costs it one second at most.
type pace struct {
	spent  uint16
	second uint8
}

// burst is how many commands may come at once: besides a second's worth, one for
// each channel, for that is how a client comes back.
func (r *Rules) burst() int { return min(r.CommandRate+r.MaxChannels, maxBurst) }

// spend counts one command. over: it is to be refused; far: the client does not
// heed that it is.
func (c *pace) spend(r *Rules, second int64) (over, far bool) {
	if gone := uint8(second) - c.second; gone > 0 {
		c.second = uint8(second)
		c.spent -= uint16(min(int(c.spent), int(gone)*r.CommandRate))
	}
	burst := r.burst()
	if int(c.spent) < 2*burst {
		c.spent++
	}
	return int(c.spent) > burst, int(c.spent) >= 2*burst
}

// unspend takes back what a command has been counted as that is handled once more.
func (c *pace) unspend() {
	if c.spent > 0 {
		c.spent--
	}
}

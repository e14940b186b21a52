package admission

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// RefusalTime is how long a socket may stay that is over a limit: for its request,
// for the answer, and for its client to close it.
const RefusalTime = 2 * time.Second

// Socket is what an accepted socket counts as until it is closed.
type Socket struct {
	address Address // that it is one of, if that is limited
	excess  bool    // it is over a limit, or has been refused
}

// Refused reports whether the socket is over a limit, or its client has been refused.
func (s Socket) Refused() bool { return s.excess }

// sockets counts the open sockets of the public address.
type sockets struct {
	max       int64 // 0: any number
	maxExcess int64
	open      atomic.Int64
	// excess is how many are over a limit and wait to be told, or have been.
	excess atomic.Int64
	idle   idle
}

// Open counts a socket that has been accepted from peer, which is used if PerAddress
// only. A socket over a limit comes with a refusal: its request, whatever it is, is
// answered with that, within RefusalTime. ok is false if there is no room for that
// either: it must be closed at once. Otherwise the socket counts until it is passed
// to Close. If there is no room, a plain HTTP connection that is idle makes some.
func (c *Controller) Open(peer netip.Addr) (s Socket, refusal *Refusal, ok bool) {
	if s.address, refusal = c.openAddress(peer); refusal == nil {
		if refusal = c.openAny(); refusal == nil {
			return s, nil, true
		}
		c.Remove(s.address)
	}
	s = Socket{excess: true}
	return s, refusal, c.takeExcess()
}

// openAny counts a socket against the limit of all.
func (c *Controller) openAny() *Refusal {
	for c.sockets.open.Add(1) > c.sockets.max && c.sockets.max > 0 {
		c.sockets.open.Add(-1)
		if !c.EvictIdle() {
			return RefusedFull
		}
	}
	return nil
}

// openAddress counts a socket against the limit of its address, unless that is a
// trusted proxy's: its handshakes count against those of its clients.
func (c *Controller) openAddress(peer netip.Addr) (Address, *Refusal) {
	if c.addresses == nil || c.addresses.connections <= 0 || c.addresses.trusted(peer.Unmap()) {
		return Address{}, nil
	}
	address := addressOf(peer)
	for {
		counted, refusal := c.addresses.change(address, monotonic(), false, true)
		if refusal == nil || !c.sockets.idle.evict(address) {
			return counted, refusal
		}
	}
}

func (c *Controller) takeExcess() bool {
	if c.sockets.excess.Add(1) <= c.sockets.maxExcess {
		return true
	}
	c.sockets.excess.Add(-1)
	return false
}

// Close ends what Open began.
func (c *Controller) Close(s Socket) {
	if s.excess {
		c.sockets.excess.Add(-1)
		return
	}
	c.sockets.open.Add(-1)
	c.Remove(s.address)
}

// TurnAway is called for a socket whose client has been refused. It counts as one
// over a limit from then on, so that it is in nobody's way; ok is false if there is no
// room for that: it must be closed, and counts as before until then.
func (c *Controller) TurnAway(s Socket) (turned Socket, ok bool) {
	if s.excess {
		return s, true
	}
	if !c.takeExcess() {
		return s, false
	}
	c.Close(s)
	return Socket{excess: true}, true
}

// Sockets returns how many sockets are open that are not over a limit.
func (c *Controller) Sockets() int64 { return c.sockets.open.Load() }

// EvictIdle closes the plain HTTP connection that has been idle for longest. It
// reports whether there was one.
func (c *Controller) EvictIdle() bool { return c.sockets.idle.evict(Address{}) }

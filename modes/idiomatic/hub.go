package idiomatic

import (
	"hash/maphash"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// hub knows which connections are subscribed to which channel. It is cut into
// shards, so that a long delivery on one channel does not hold up subscribing to
// all others. Its methods may be called concurrently, but for the order that
// modes.Receiver promises.
type hub struct {
	stats  *modes.Stats
	seed   maphash.Seed
	epoch  atomic.Uint64 // how often the link to Redis broke
	shards [64]shard
}

type shard struct {
	mu       sync.Mutex // guards channels and the audiences
	channels map[string]*audience
}

// audience is who is subscribed to one channel. While it has members it holds
// one reference of the bus.
type audience struct {
	channel string
	// members maps each connection to the hub's epoch when it subscribed.
	members map[*connection]uint64
	forms   [wire.Forms]int // how many members have each
}

func newHub(stats *modes.Stats) *hub {
	h := &hub{stats: stats, seed: maphash.MakeSeed()}
	for i := range h.shards {
		h.shards[i].channels = make(map[string]*audience)
	}
	return h
}

func (h *hub) shard(channel string) *shard { return &h.shards[h.number(channel)] }

func (h *hub) number(channel string) int {
	return int(maphash.String(h.seed, channel) % uint64(len(h.shards)))
}

// nextEpoch begins the time after a break: subscriptions from now on have
// missed nothing.
func (h *hub) nextEpoch() uint64 { return h.epoch.Add(1) }

// join makes c a member of channels and then calls first, all before anything is
// delivered to it from any of them: who hears of one membership has them all. c
// must not be a member yet. The caller brings a reference of the bus for each; it
// gives those back that are returned, whose channels have one already.
func (h *hub) join(channels []string, c *connection, first func()) (surplus []string) {
	var wanted [len(h.shards)]bool
	for _, channel := range channels {
		wanted[h.number(channel)] = true
	}
	// In order, as everyone who locks several.
	for i := range wanted {
		if wanted[i] {
			h.shards[i].mu.Lock()
			defer h.shards[i].mu.Unlock()
		}
	}
	for _, channel := range channels {
		s := h.shard(channel)
		a := s.channels[channel]
		if a == nil {
			a = &audience{channel: channel, members: make(map[*connection]uint64, 1)}
			s.channels[channel] = a
		} else {
			surplus = append(surplus, channel)
		}
		h.enter(a, c, nil)
	}
	first()
	return surplus
}

// joinOthers is join for a caller without a reference. False: nobody is
// subscribed to channel, and so c is not either.
func (h *hub) joinOthers(channel string, c *connection, first func()) bool {
	s := h.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.channels[channel]
	if a == nil {
		return false
	}
	h.enter(a, c, first)
	return true
}

// enter must be called with the shard locked.
func (h *hub) enter(a *audience, c *connection, first func()) {
	a.members[c] = h.epoch.Load()
	a.forms[c.form()]++
	// Who has the reply is counted.
	h.stats.Subscriptions.Add(1)
	if first != nil {
		first()
	}
}

// always is an epoch that every subscription is older than.
const always = math.MaxUint64

// leave ends c's membership, if it is older than epoch, after it has called
// last, if there is one; was: there was such a membership; empty: it was the
// channel's last, and the caller gives the reference on channel back.
func (h *hub) leave(channel string, c *connection, epoch uint64, last func()) (was, empty bool) {
	s := h.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.channels[channel]
	if a == nil {
		return false, false
	}
	if joined, is := a.members[c]; !is || joined >= epoch {
		return false, false
	}
	if last != nil {
		last()
	}
	delete(a.members, c)
	a.forms[c.form()]--
	h.stats.Subscriptions.Add(-1)
	if empty = len(a.members) == 0; empty {
		delete(s.channels, channel)
	}
	return true, empty
}

// deliver queues a publication for every member of channel. It is encoded once
// for each form that one of them has.
func (h *hub) deliver(channel, data []byte) {
	var (
		messages [wire.Forms]*message
		counts   [wire.Forms]int
		repaired bool
		crowded  bool
		left     int // members without the publication
	)
	received := modes.Now()
	s := &h.shards[maphash.Bytes(h.seed, channel)%uint64(len(h.shards))]
	s.mu.Lock()
	a := s.channels[string(channel)]
	if a == nil {
		s.mu.Unlock()
		return
	}
	for p := range wire.Pushed {
		plain, deflated := p.Form(false), p.Form(true)
		receivers, deflating := a.forms[plain], 0
		if !p.OverHTTP() {
			deflating = a.forms[deflated]
		}
		if receivers+deflating == 0 {
			continue
		}
		frame, broken := wire.PushFrame(p, a.channel, data)
		repaired = repaired || broken
		if deflating > 0 {
			if small := h.stats.Deflate(frame); small.Deflated() {
				messages[deflated] = newMessage(small, true)
				deflating = 0
			}
		}
		if receivers+deflating > 0 {
			messages[plain] = pushMessage(p, frame, receivers+deflating > 1)
		}
		if deflating > 0 {
			messages[deflated] = messages[plain]
		}
	}
	left = len(a.members)
	for c := range a.members {
		form := c.form()
		m := messages[form]
		// The last in line stands for all.
		if left--; left == 0 {
			m = m.timed(received, len(a.members) > 1)
		}
		if c.enqueue(m) {
			counts[form]++
			crowded = crowded || c.queue.crowded()
		}
	}
	s.mu.Unlock()

	if repaired {
		h.stats.Repaired.Add(1)
	}
	for form, n := range counts {
		if n > 0 {
			h.stats.FramesOut.Add(uint64(n))
			h.stats.BytesOut.Add(uint64(n * messages[form].size))
		}
	}
	if crowded {
		// Where writers wait for a processor and not for their clients, they
		// must run before more is queued: clients that do read are not slow.
		runtime.Gosched()
	}
}

// before returns the members of channel whose subscription is older than epoch.
func (h *hub) before(channel string, epoch uint64) []*connection {
	s := h.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.channels[channel]
	if a == nil {
		return nil
	}
	members := make([]*connection, 0, len(a.members))
	for c, joined := range a.members {
		if joined < epoch && c.protocol.TellsGaps() {
			members = append(members, c)
		}
	}
	return members
}

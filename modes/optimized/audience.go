//go:build linux

package optimized

import (
	"sync"
	"sync/atomic"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// channel is one channel of this node: who has to hear of a publication.
type channel struct {
	name string
	// audiences are the loops' own; nil where a loop has no subscriber.
	audiences []atomic.Pointer[audience]
	// few is room for the audiences where there are not many loops. Where each
	// message goes to another channel, every piece of memory to visit is a cache
	// miss.
	few [2]atomic.Pointer[audience]
}

// room returns the channel's places for the audiences of loops.
func (c *channel) room(loops int) []atomic.Pointer[audience] {
	if loops <= len(c.few) {
		return c.few[:loops:loops]
	}
	return make([]atomic.Pointer[audience], loops)
}

// directory finds a channel by name.
type directory struct {
	mu       sync.RWMutex // guards channels
	channels map[string]*channel
}

func (d *directory) find(name string) *channel {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.channels[name]
}

// deliverable is find for a name that is not the caller's to keep.
func (d *directory) deliverable(name []byte) *channel {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.channels[string(name)]
}

// enter makes a the audience of loop number for the channel, whose name it keeps.
func (d *directory) enter(name string, number, loops int, a *audience) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.channels[name]
	if c == nil {
		c = &channel{name: name}
		c.audiences = c.room(loops)
		d.channels[name] = c
	}
	a.channel = c
	c.audiences[number].Store(a)
}

// leave undoes enter.
func (d *directory) leave(c *channel, number int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.audiences[number].Store(nil)
	for i := range c.audiences {
		if c.audiences[i].Load() != nil {
			return
		}
	}
	delete(d.channels, c.name)
}

// audience is the part of a channel's subscribers that one loop serves. It
// holds one reference on the bus, however many its members are. The loop alone
// touches it.
type audience struct {
	// What a publication needs comes first, to be in few cache lines.

	// wants counts members by form: a frame that nobody wants is not made. Others
	// read it; the loop alone writes, and takes back those that have left only when
	// it empties its inbox, see leaving.
	wants   [wire.Forms]atomic.Int32
	members []member
	batch   *batch // publications of this turn, nil between turns

	channel *channel
	index   uint32 // in loop.audiences; none: it has been given up
	// confirmed says that the bus has confirmed the channel, once: it holds a
	// reference.
	confirmed bool
	asking    bool       // the bus has been asked for the channel, and has not answered
	waiting   []*request // for the answer
	pending   int        // requests that are not complete and are for this channel, too
}

// leaving is a member that has left and still counts as wanting frames, until the
// loop has taken what was published before. Else somebody who joins in the meantime
// would get what waits in the inbox from before, and miss what came there while
// nobody wanted it: a hole in the middle of what he sees.
type leaving struct {
	audience *audience
	form     wire.Form
}

// member is one subscribed connection: its record, and which of its
// subscriptions this is.
type member struct {
	record uint32
	place  uint32 // the subscription's slot, and serverSide
}

// serverSide in a member's place says that the subscription came with the
// connect command.
const serverSide = 1 << 31

func (m *member) slot() uint32 { return m.place &^ serverSide }

// move notes that the subscription has another slot.
func (m *member) move(slot uint32) { m.place = m.place&serverSide | slot }

// audienceOf returns the loop's audience of the channel, nil if it has none.
func (l *loop) audienceOf(name string) *audience {
	if c := l.engine.directory.find(name); c != nil {
		return c.audiences[l.number].Load()
	}
	return nil
}

// subscriptions calls visit with the slot and place of each of the connection's
// subscriptions until it returns false.
func (l *loop) subscriptions(r *record, visit func(slot uint32, s *subscription) bool) {
	if r.first.audience != none && !visit(0, &r.first) || r.more == none {
		return
	}
	more := *l.more.items[r.more]
	for i := range more {
		if !visit(uint32(i+1), &more[i]) {
			return
		}
	}
}

// subscription returns the one in a slot.
func (l *loop) subscription(r *record, slot uint32) *subscription {
	if slot == 0 {
		return &r.first
	}
	return &(*l.more.items[r.more])[slot-1]
}

// slotOf returns where the connection's subscription to a is.
func (l *loop) slotOf(r *record, a *audience) (slot uint32, has bool) {
	l.subscriptions(r, func(at uint32, s *subscription) bool {
		slot, has = at, s.audience == a.index
		return !has
	})
	return slot, has
}

// count returns how many subscriptions the connection has.
func (l *loop) count(r *record) int {
	n := 0
	if r.first.audience != none {
		n++
	}
	if r.more != none {
		n += len(*l.more.items[r.more])
	}
	return n
}

// addPending gives the connection a subscription that is not confirmed.
func (l *loop) addPending(r *record, a *audience) {
	s := subscription{audience: a.index, position: none}
	if r.first.audience == none {
		r.first = s
		return
	}
	if r.more == none {
		r.more = l.more.add(new([]subscription))
	}
	more := l.more.items[r.more]
	*more = append(*more, s)
}

// join makes the pending subscription a confirmed one.
func (l *loop) join(index uint32, r *record, a *audience, byServer bool) {
	slot, has := l.slotOf(r, a)
	if !has {
		return
	}
	l.subscription(r, slot).position = uint32(len(a.members))
	m := member{record: index, place: slot}
	if byServer {
		m.place |= serverSide
	}
	a.members = append(a.members, m)
	a.wants[r.form()].Add(1)
	l.engine.Stats.Subscriptions.Add(1)
}

// drop ends the subscription in a slot, confirmed or not, in time that does not
// depend on how many there are.
func (l *loop) drop(r *record, slot uint32) {
	s := *l.subscription(r, slot)
	a := l.audiences.items[s.audience]
	if s.position != none {
		last := len(a.members) - 1
		moved := a.members[last]
		a.members[s.position] = moved
		a.members = a.members[:last]
		l.subscription(l.slab.at(moved.record), moved.slot()).position = s.position
		l.left = append(l.left, leaving{a, r.form()})
		l.engine.Stats.Subscriptions.Add(-1)
	}
	l.forget(r, slot)
	l.releaseUnused(a)
}

// forget takes the subscription out of the connection's own list; the last one
// takes its slot.
func (l *loop) forget(r *record, slot uint32) {
	if r.more == none {
		r.first.audience = none
		return
	}
	more := l.more.items[r.more]
	last := len(*more)
	moved := (*more)[last-1]
	*l.subscription(r, slot) = moved
	if moved.position != none && uint32(last) != slot {
		l.audiences.items[moved.audience].members[moved.position].move(slot)
	}
	*more = (*more)[:last-1]
	if last == 1 {
		l.more.remove(r.more)
		r.more = none
	}
}

// releaseUnused gives the audience up, and its reference on the bus, once nobody needs it.
func (l *loop) releaseUnused(a *audience) {
	if len(a.members) > 0 || a.pending > 0 || a.asking || !a.confirmed || a.index == none {
		return
	}
	l.engine.directory.leave(a.channel, l.number)
	l.audiences.remove(a.index)
	a.index = none
	l.engine.Bus.Unsubscribe(a.channel.name)
}

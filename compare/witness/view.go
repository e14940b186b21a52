package witness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/compare/payload"
)

// state is where a subscription is in its life.
type state uint8

const (
	out     state = iota // not subscribed, and not asked for
	asked                // asked for, and not answered
	in                   // confirmed
	leaving              // its end and a new one are asked for, and not answered
)

// view is what a witness has seen of one channel.
type view struct {
	channel uint32
	name    string
	state   state
	known   bool // has been subscribed before
	fresh   bool // nothing has come since it was subscribed
	renewal bool // a new token has been sent, and not answered
	turns   int  // how often it has been subscribed
	refused int  // times in a row
	high    uint32
	// due is what had been published when it was subscribed, or warned that
	// something may have been missed: up to there nothing is owed. The next
	// message makes it 0.
	due uint32
	// owed is how many messages were missed within the subscription, whose end
	// has to follow, since when, and the first of them.
	owed  uint32
	since time.Time
	hole  uint32
}

// Ids of commands: view i has the three from firstID + 3i on.
const (
	connectID = 1
	renewID   = 2
	firstID   = 3
)

// what is a command about a view.
type what uint32

const (
	subscribe what = iota
	unsubscribe
	renewSubscription
	whats
)

// id is that of a command about view i.
func (w what) id(i int) uint32 { return firstID + uint32(whats)*uint32(i) + uint32(w) }

// command is the inverse of id. There may be no such view.
func command(id uint32) (i int, w what) {
	return int(id-firstID) / int(whats), what((id - firstID) % uint32(whats))
}

// subscribe is the command that subscribes to view i.
func (m *client) subscribe(i int) *protocol.Command {
	name := m.views[i].name
	return &protocol.Command{Id: subscribe.id(i), Subscribe: &protocol.SubscribeRequest{Channel: name, Token: m.crew.options.Token(name)}}
}

// askAll notes that all channels are asked for.
func (m *client) askAll() (views []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.views {
		m.views[i].state = asked
		views = append(views, i)
	}
	return views
}

// askAgain notes that view i is asked for, after it was refused on conn; false:
// it is not to be.
func (m *client) askAgain(i int, conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != conn || m.views[i].state != out {
		return false
	}
	m.views[i].state = asked
	return true
}

// rejoin unsubscribes from a channel and subscribes to it again, in one frame.
func (m *client) rejoin() bool {
	i := rand.IntN(len(m.views))
	m.mu.Lock()
	conn := m.conn
	// The server may take the new token for what is left.
	ok := m.kind.Protocol.session() && conn != nil && !m.local && m.views[i].state == in && !m.views[i].renewal
	if ok {
		m.views[i].state = leaving
	}
	m.mu.Unlock()
	if !ok {
		return false
	}
	leave := &protocol.Command{Id: unsubscribe.id(i), Unsubscribe: &protocol.UnsubscribeRequest{Channel: m.views[i].name}}
	return m.send(conn, leave, m.subscribe(i)) == nil
}

// joined tells whether all subscriptions are confirmed.
func (m *client) joined() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.allIn()
}

func (m *client) allIn() bool {
	for i := range m.views {
		if m.views[i].state != in {
			return false
		}
	}
	return true
}

// confirmed takes in the good reply with this id: ok tells whether it was asked
// for, all whether every channel is now subscribed.
func (m *client) confirmed(id uint32) (ok, all bool) {
	i, w := command(id)
	if i >= len(m.views) {
		return false, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &m.views[i]
	if w == unsubscribe {
		if v.state == leaving {
			m.told(v) // it has ended the subscription itself, and knows
			v.state = asked
		}
		// else the server ended it first
		return v.state == asked, false
	}
	if v.state != asked {
		return false, false
	}
	m.join(v)
	return true, m.allIn()
}

// join notes that v is subscribed.
func (m *client) join(v *view) {
	v.state, v.fresh, v.renewal, v.refused = in, true, false, 0
	v.turns++
	v.due = m.crew.options.Published(v.channel)
	if !v.known {
		v.known, v.high = true, v.due
	}
}

// joinAll notes that all channels are subscribed.
func (m *client) joinAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.views {
		m.join(&m.views[i])
	}
}

// refused takes in a temporary error and returns the view and how often in a
// row it has been refused before.
func (m *client) refused(id uint32) (i, attempts int, ok bool) {
	i, w := command(id)
	if i >= len(m.views) || w != subscribe {
		return 0, 0, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &m.views[i]
	if v.state != asked {
		return 0, 0, false
	}
	v.state = out
	v.refused++
	return i, v.refused - 1, true
}

// gap takes in the server's end of a subscription; ask tells whether it is to be
// asked for again. The view is negative where there is none.
func (m *client) gap(channel string) (i int, ask bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.views {
		v := &m.views[i]
		if v.name != channel {
			continue
		}
		was := v.state
		if was != in && was != leaving {
			break
		}
		m.told(v)
		v.state, v.renewal = asked, false
		// leaving: the subscribe command is under way already
		return i, was == in
	}
	return -1, false
}

// warned takes in that messages of a channel may have been missed, and that the
// subscription goes on; false: there is none.
func (m *client) warned(channel string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.views {
		if v := &m.views[i]; v.name == channel && v.state == in {
			m.told(v)
			v.due = m.crew.options.Published(v.channel)
			return true
		}
	}
	return false
}

// told notes that the subscription has ended, with which what it missed was
// announced.
func (m *client) told(v *view) {
	if v.owed == 0 {
		return
	}
	m.crew.account.announced.Add(int64(v.owed))
	m.crew.account.notice.record(time.Since(v.since))
	v.owed = 0
}

// message takes in a publication. channel is what the server says it is of; nil: the
// protocol does not say.
func (m *client) message(channel []byte, p payload.Message, now time.Time) {
	a := &m.crew.account
	a.received.Add(1)
	a.came(m.kind, p)
	a.latency.record(time.Duration(now.UnixNano() - p.Time))
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.views {
		v := &m.views[i]
		if channel == nil && v.channel != p.Channel || channel != nil && v.name != string(channel) {
			continue
		}
		if v.channel != p.Channel {
			break
		}
		if v.state != in && v.state != leaving {
			a.fault(&a.stray, 1, fmt.Sprintf("witness %d (%v): %s: message %d without a subscription", m.number, m.kind, v.name, p.Sequence))
			return
		}
		v.take(m, p.Sequence, now)
		return
	}
	a.fault(&a.misrouted, 1, fmt.Sprintf("witness %d (%v): message %d of channel %d came on %q", m.number, m.kind, p.Sequence, p.Channel, channel))
}

// take takes in the message with sequence number s.
func (v *view) take(m *client, s uint32, now time.Time) {
	a := &m.crew.account
	if s <= v.high && !v.fresh {
		a.fault(&a.repeated, 1, fmt.Sprintf("witness %d (%v): %s: %d came after %d", m.number, m.kind, v.name, s, v.high))
		return
	}
	if s > v.high+1 {
		known := min(max(v.due, v.high), s-1) // up to here it knows that it may lack them
		a.announced.Add(int64(known - v.high))
		if n := s - 1 - known; n > 0 {
			v.owe(m, s-n, n, now)
		}
	}
	v.fresh, v.high, v.due = false, s, 0
}

// owe notes that n messages from first on are missing within the subscription.
func (v *view) owe(m *client, first, n uint32, now time.Time) {
	if m.kind.Protocol.mute() {
		m.crew.account.silence(hole{m.number, m.kind, v.name, v.channel, first, n})
		return
	}
	if v.owed == 0 {
		v.since, v.hole = now, first
	}
	v.owed += n
}

// lacking is how many messages the witness has yet to receive, and whether it is
// subscribed to everything. final says that they will not come.
func (m *client) lacking(final bool) (missing int, here bool) {
	a := &m.crew.account
	m.mu.Lock()
	defer m.mu.Unlock()
	here = true
	for i := range m.views {
		v := &m.views[i]
		if v.state != in {
			here = false
			continue
		}
		last, has := m.crew.options.Published(v.channel), max(v.high, v.due)
		missing += int(max(last, has)-has) + int(v.owed)
		if !final {
			continue
		}
		if v.owed > 0 {
			a.fault(&a.lost, int64(v.owed), fmt.Sprintf("witness %d (%v): %s: %d lost from %d on, without a word", m.number, m.kind, v.name, v.owed, v.hole))
			v.owed = 0
		}
		a.announced.Add(int64(has - v.high))
		if last > has {
			a.fault(&a.lost, int64(last-has), fmt.Sprintf("witness %d (%v): %s: %d of %d never came", m.number, m.kind, v.name, last-has, last))
		}
		v.high = max(has, last)
	}
	return missing, here
}

package client

import (
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/compare/workload"
)

// state is the state of a subscription.
type state uint8

const (
	out     state = iota // not subscribed, and not requested
	asked                // requested, and not answered
	in                   // confirmed
	leaving              // unsubscribed and requested again, and not answered
)

// subscription is what a client has seen of one channel.
type subscription struct {
	channel uint32
	name    string
	state   state
	known   bool // it has been subscribed before
	fresh   bool // nothing has arrived since the subscription
	renewal bool // a new token has been sent, and not answered
	turns   int  // how often it has been subscribed
	refused int  // times in a row
	high    uint32
	// due is the last message that had been published when the client was subscribed,
	// or warned of a gap: messages up to it may be missing. The next message sets it
	// to 0.
	due uint32
	// missing is how many messages were missed during the subscription, which
	// therefore must end, since when, and hole the first of them.
	missing uint32
	since   time.Time
	hole    uint32
}

// Ids of commands: subscription i has the three from firstID + 3i on.
const (
	connectID = 1
	renewID   = 2
	firstID   = 3
)

// what is the kind of a command about a subscription.
type what uint32

const (
	subscribe what = iota
	unsubscribe
	renewSubscription
	whats
)

// id returns the id of a command about subscription i.
func (w what) id(i int) uint32 { return firstID + uint32(whats)*uint32(i) + uint32(w) }

// command is the inverse of id. There may be no such subscription.
func command(id uint32) (i int, w what) {
	return int(id-firstID) / int(whats), what((id - firstID) % uint32(whats))
}

// subscribe returns the command that subscribes to subscription i.
func (m *client) subscribe(i int) *protocol.Command {
	name := m.subscriptions[i].name
	return &protocol.Command{Id: subscribe.id(i), Subscribe: &protocol.SubscribeRequest{Channel: name, Token: m.pool.options.Token(name)}}
}

// askAll records that all subscriptions are requested.
func (m *client) askAll() (subscriptions []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.subscriptions {
		m.subscriptions[i].state = asked
		subscriptions = append(subscriptions, i)
	}
	return subscriptions
}

// askAgain records that subscription i is requested again after it was refused on
// conn. It returns false if it must not be.
func (m *client) askAgain(i int, conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != conn || m.subscriptions[i].state != out {
		return false
	}
	m.subscriptions[i].state = asked
	return true
}

// rejoin unsubscribes from a channel and subscribes to it again, in one frame.
func (m *client) rejoin() bool {
	i := rand.IntN(len(m.subscriptions))
	m.mu.Lock()
	conn := m.conn
	// The server may apply the new token to the subscription that follows.
	ok := m.kind.Protocol.hasCommands() && conn != nil && !m.local && m.subscriptions[i].state == in && !m.subscriptions[i].renewal
	if ok {
		m.subscriptions[i].state = leaving
	}
	m.mu.Unlock()
	if !ok {
		return false
	}
	leave := &protocol.Command{Id: unsubscribe.id(i), Unsubscribe: &protocol.UnsubscribeRequest{Channel: m.subscriptions[i].name}}
	return m.send(conn, leave, m.subscribe(i)) == nil
}

// joined reports whether all subscriptions are confirmed.
func (m *client) joined() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.allIn()
}

func (m *client) allIn() bool {
	for i := range m.subscriptions {
		if m.subscriptions[i].state != in {
			return false
		}
	}
	return true
}

// confirmed handles the successful reply with this id. It reports whether the reply
// was expected, and whether the client is now subscribed to every channel.
func (m *client) confirmed(id uint32) (ok, all bool) {
	i, w := command(id)
	if i >= len(m.subscriptions) {
		return false, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &m.subscriptions[i]
	if w == unsubscribe {
		if v.state == leaving {
			m.announce(v) // it has ended the subscription itself
			v.state = asked
		}
		// otherwise the server ended it first
		return v.state == asked, false
	}
	if v.state != asked {
		return false, false
	}
	m.join(v)
	return true, m.allIn()
}

// join records that v is subscribed.
func (m *client) join(v *subscription) {
	v.state, v.fresh, v.renewal, v.refused = in, true, false, 0
	v.turns++
	v.due = m.pool.options.Published(v.channel)
	if !v.known {
		v.known, v.high = true, v.due
	}
}

// joinAll records that all channels are subscribed.
func (m *client) joinAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.subscriptions {
		m.join(&m.subscriptions[i])
	}
}

// refused handles a temporary error. It returns the subscription and how often in a
// row it had been refused before.
func (m *client) refused(id uint32) (i, attempts int, ok bool) {
	i, w := command(id)
	if i >= len(m.subscriptions) || w != subscribe {
		return 0, 0, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &m.subscriptions[i]
	if v.state != asked {
		return 0, 0, false
	}
	v.state = out
	v.refused++
	return i, v.refused - 1, true
}

// gap handles the end of a subscription by the server, and reports whether to request
// it again. The index is negative if there is no such subscription.
func (m *client) gap(channel string) (i int, ask bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.subscriptions {
		v := &m.subscriptions[i]
		if v.name != channel {
			continue
		}
		was := v.state
		if was != in && was != leaving {
			break
		}
		m.announce(v)
		v.state, v.renewal = asked, false
		// leaving: the subscribe command has been sent already
		return i, was == in
	}
	return -1, false
}

// warned handles a warning that messages of a channel may have been missed while the
// subscription continues. It returns false if there is no subscription.
func (m *client) warned(channel string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.subscriptions {
		if v := &m.subscriptions[i]; v.name == channel && v.state == in {
			m.announce(v)
			v.due = m.pool.options.Published(v.channel)
			return true
		}
	}
	return false
}

// announce records that the end of the subscription has announced what it missed.
func (m *client) announce(v *subscription) {
	if v.missing == 0 {
		return
	}
	m.pool.counts.announced.Add(int64(v.missing))
	m.pool.counts.notice.record(time.Since(v.since))
	v.missing = 0
}

// message handles a publication. channel is what the server says it belongs to, nil if
// the protocol does not say.
func (m *client) message(channel []byte, p workload.Message, now time.Time) {
	a := &m.pool.counts
	a.received.Add(1)
	a.addReceived(m.kind, p)
	a.latency.record(time.Duration(now.UnixNano() - p.Time))
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.subscriptions {
		v := &m.subscriptions[i]
		if channel == nil && v.channel != p.Channel || channel != nil && v.name != string(channel) {
			continue
		}
		if v.channel != p.Channel {
			break
		}
		if v.state != in && v.state != leaving {
			a.fault(&a.unsubscribed, 1, fmt.Sprintf("client %d (%v): %s: message %d without a subscription", m.number, m.kind, v.name, p.Sequence))
			return
		}
		v.take(m, p.Sequence, now)
		return
	}
	a.fault(&a.misrouted, 1, fmt.Sprintf("client %d (%v): message %d of channel %d came on %q", m.number, m.kind, p.Sequence, p.Channel, channel))
}

// take handles the message with sequence number s.
func (v *subscription) take(m *client, s uint32, now time.Time) {
	a := &m.pool.counts
	if s <= v.high && !v.fresh {
		a.fault(&a.repeated, 1, fmt.Sprintf("client %d (%v): %s: %d came after %d", m.number, m.kind, v.name, s, v.high))
		return
	}
	if s > v.high+1 {
		known := min(max(v.due, v.high), s-1) // up to here it was warned
		a.announced.Add(int64(known - v.high))
		if n := s - 1 - known; n > 0 {
			v.addMissing(m, s-n, n, now)
		}
	}
	v.fresh, v.high, v.due = false, s, 0
}

// addMissing records that n messages from first on are missing during the
// subscription.
func (v *subscription) addMissing(m *client, first, n uint32, now time.Time) {
	if m.kind.Protocol.cannotSignalGaps() {
		m.pool.counts.addSilentGap(silentGap{m.number, m.kind, v.name, v.channel, first, n})
		return
	}
	if v.missing == 0 {
		v.since, v.hole = now, first
	}
	v.missing += n
}

// outstanding returns how many messages the client has yet to receive, and whether it
// is subscribed to everything. final means that they will not come.
func (m *client) outstanding(final bool) (missing int, here bool) {
	a := &m.pool.counts
	m.mu.Lock()
	defer m.mu.Unlock()
	here = true
	for i := range m.subscriptions {
		v := &m.subscriptions[i]
		if v.state != in {
			here = false
			continue
		}
		last, has := m.pool.options.Published(v.channel), max(v.high, v.due)
		missing += int(max(last, has)-has) + int(v.missing)
		if !final {
			continue
		}
		if v.missing > 0 {
			a.fault(&a.lost, int64(v.missing), fmt.Sprintf("client %d (%v): %s: %d lost from %d on, without an announcement", m.number, m.kind, v.name, v.missing, v.hole))
			v.missing = 0
		}
		a.announced.Add(int64(has - v.high))
		if last > has {
			a.fault(&a.lost, int64(last-has), fmt.Sprintf("client %d (%v): %s: %d of %d never came", m.number, m.kind, v.name, last-has, last))
		}
		v.high = max(has, last)
	}
	return missing, here
}

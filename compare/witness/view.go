package witness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/tandem-ws/tandem/compare/frame"
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
	refused int  // times in a row
	high    uint32
	due     uint32 // what had been published when it was subscribed
	// owed is how many messages were missed within the subscription, whose end
	// has to follow, since when, and the first of them.
	owed  uint32
	since time.Time
	hole  uint32
}

// Ids of commands: view i subscribes with firstID + 2i, and unsubscribes with the
// id after that.
const (
	connectID = 1
	firstID   = 2
)

func (m *client) appendSubscribe(text []byte, i int) []byte {
	return fmt.Appendf(text, "{\"id\":%d,\"subscribe\":{\"channel\":%s}}\n", firstID+2*i, strconv.Quote(m.views[i].name))
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
	ok := conn != nil && !m.local && m.views[i].state == in
	if ok {
		m.views[i].state = leaving
	}
	m.mu.Unlock()
	if !ok {
		return false
	}
	text := fmt.Appendf(nil, "{\"id\":%d,\"unsubscribe\":{\"channel\":%s}}\n", firstID+2*i+1, strconv.Quote(m.views[i].name))
	_, err := conn.Write(frame.Append(nil, frame.Text, m.appendSubscribe(text, i)))
	return err == nil
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
	i := int(id-firstID) / 2
	if id < firstID || i >= len(m.views) {
		return false, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &m.views[i]
	if (id-firstID)%2 == 1 {
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
	v.state, v.fresh, v.refused = in, true, 0
	v.due = m.crew.options.Published(v.channel)
	if !v.known {
		v.known, v.high = true, v.due
	}
	return true, m.allIn()
}

// refused takes in a temporary error and returns the view and how often in a
// row it has been refused before.
func (m *client) refused(id uint32) (i, attempts int, ok bool) {
	i = int(id-firstID) / 2
	if id < firstID || i >= len(m.views) || (id-firstID)%2 == 1 {
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
		v.state = asked
		// leaving: the subscribe command is under way already
		return i, was == in
	}
	return -1, false
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

// message takes in a publication.
func (m *client) message(channel []byte, p payload.Message, now time.Time) {
	a := &m.crew.account
	a.received.Add(1)
	a.latency.record(time.Duration(now.UnixNano() - p.Time))
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.views {
		v := &m.views[i]
		if v.name != string(channel) {
			continue
		}
		if v.channel != p.Channel {
			break
		}
		if v.state != in && v.state != leaving {
			a.fault(&a.stray, 1, fmt.Sprintf("witness %d: %s: message %d without a subscription", m.number, v.name, p.Sequence))
			return
		}
		v.take(m, p.Sequence, now)
		return
	}
	a.fault(&a.misrouted, 1, fmt.Sprintf("witness %d: message %d of channel %d came on %s", m.number, p.Sequence, p.Channel, channel))
}

// take takes in the message with sequence number s.
func (v *view) take(m *client, s uint32, now time.Time) {
	a := &m.crew.account
	owe := func(n uint32) {
		if v.owed == 0 {
			v.since, v.hole = now, s-n
		}
		v.owed += n
	}
	switch {
	case v.fresh:
		v.fresh = false
		if s > v.due+1 {
			owe(s - v.due - 1)
			a.announced.Add(int64(max(v.due, v.high) - v.high))
		} else if s > v.high+1 {
			a.announced.Add(int64(s - v.high - 1))
		}
		v.high = s
	case s > v.high:
		if s > v.high+1 {
			owe(s - v.high - 1)
		}
		v.high = s
	default:
		a.fault(&a.repeated, 1, fmt.Sprintf("witness %d: %s: %d came after %d", m.number, v.name, s, v.high))
	}
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
		last, has := m.crew.options.Published(v.channel), v.high
		if v.fresh {
			has = max(has, v.due)
		}
		missing += int(max(last, has)-has) + int(v.owed)
		if !final {
			continue
		}
		if v.owed > 0 {
			a.fault(&a.lost, int64(v.owed), fmt.Sprintf("witness %d: %s: %d lost from %d on, and the subscription was not ended", m.number, v.name, v.owed, v.hole))
			v.owed = 0
		}
		if v.fresh {
			a.announced.Add(int64(has - v.high))
		}
		if last > has {
			a.fault(&a.lost, int64(last-has), fmt.Sprintf("witness %d: %s: %d of %d never came", m.number, v.name, last-has, last))
		}
		v.high = max(has, last)
	}
	return missing, here
}

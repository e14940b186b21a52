package witness

import (
	"net"

	"github.com/centrifugal/protocol"
)

// renew sends a new token for the connection, if it is still the witness's.
func (m *client) renew(conn net.Conn) {
	m.mu.Lock()
	ours := m.conn == conn && !m.local
	m.mu.Unlock()
	if ours {
		// An error means that the connection has ended.
		_ = m.send(conn, &protocol.Command{Id: renewID, Refresh: &protocol.RefreshRequest{Token: m.crew.options.Token("")}})
	}
}

// turn tells the subscriptions of view i, one after the other, apart.
func (m *client) turn(i int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.views[i].turns
}

// renewView sends a new token for the subscription of view i, if it is still the
// one of that turn.
func (m *client) renewView(conn net.Conn, i, turn int) {
	m.mu.Lock()
	v := &m.views[i]
	ours := m.conn == conn && !m.local && v.state == in && v.turns == turn
	if ours {
		v.renewal = true
	}
	m.mu.Unlock()
	if ours {
		// An error means that the connection has ended.
		_ = m.send(conn, &protocol.Command{
			Id:         renewSubscription.id(i),
			SubRefresh: &protocol.SubRefreshRequest{Channel: v.name, Token: m.crew.options.Token(v.name)},
		})
	}
}

// renewedView notes that the new token of view i was answered; false: the
// subscription has ended meanwhile.
func (m *client) renewedView(i int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &m.views[i]
	renewed := v.state == in && v.renewal
	v.renewal = false
	return renewed
}

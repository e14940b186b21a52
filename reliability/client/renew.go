package client

import (
	"net"

	"github.com/centrifugal/protocol"
)

// renew sends a new token for the connection, if the client still has it.
func (m *client) renew(conn net.Conn) {
	m.mu.Lock()
	ours := m.conn == conn && !m.local
	m.mu.Unlock()
	if ours {
		// An error means that the connection has ended.
		_ = m.send(conn, &protocol.Command{Id: renewID, Refresh: &protocol.RefreshRequest{Token: m.pool.options.Token("")}})
	}
}

// turn returns the number of the current turn of subscription i, to tell it from later
// ones.
func (m *client) turn(i int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.subscriptions[i].turns
}

// renewSubscriptionToken sends a new token for subscription i if it is still in that
// turn.
func (m *client) renewSubscriptionToken(conn net.Conn, i, turn int) {
	m.mu.Lock()
	v := &m.subscriptions[i]
	ours := m.conn == conn && !m.local && v.state == in && v.turns == turn
	if ours {
		v.renewal = true
	}
	m.mu.Unlock()
	if ours {
		// An error means that the connection has ended.
		_ = m.send(conn, &protocol.Command{
			Id:         renewSubscription.id(i),
			SubRefresh: &protocol.SubRefreshRequest{Channel: v.name, Token: m.pool.options.Token(v.name)},
		})
	}
}

// renewedSubscription records that the server has answered the new token of
// subscription i. It returns false if the subscription has ended meanwhile.
func (m *client) renewedSubscription(i int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &m.subscriptions[i]
	renewed := v.state == in && v.renewal
	v.renewal = false
	return renewed
}

package kit

import "github.com/tandem-ws/tandem/modes/protocol/wire"

// Cut counts the connections that have ended for being slow.
func (n *Node) Cut(t Tester) int {
	t.Helper()
	return Count(t, n.Stats.Disconnected, wire.DisconnectSlow.Reason)
}

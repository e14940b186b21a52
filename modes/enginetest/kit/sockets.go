package kit

import "time"

// AwaitSockets waits until the node counts so many open sockets.
func (n *Node) AwaitSockets(t Tester, want int64) {
	t.Helper()
	Await(t, "the open sockets to be counted", func() (bool, string) {
		open := n.admission.Sockets()
		return open == want, time.Now().String()
	})
}

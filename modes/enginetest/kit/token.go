package kit

import (
	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes"
)

// ConnectWith sends the connect command with a token and returns the reply.
func (c *Client) ConnectWith(token string) *protocol.Reply {
	c.T.Helper()
	return c.Call(&protocol.Command{Connect: &protocol.ConnectRequest{Token: token}})
}

// TokenSession opens a connection that is connected with this token.
func (n *Node) TokenSession(t Tester, token string) *Client {
	t.Helper()
	c := n.Open(t, modes.PathCentrifuge)
	if r := c.ConnectWith(token); r.Connect == nil {
		t.Fatalf("connect: got %s", Show(r))
	}
	return c
}

package kit

import (
	"net/http"

	"github.com/tandem-ws/tandem/modes"
)

// ExpectAddressFull sees the handshake refused, because the address has too many
// connections.
func (c *Client) ExpectAddressFull(headers ...string) {
	c.T.Helper()
	c.Write(Upgrade(modes.PathEcho, headers...).Bytes())
	c.ExpectRefusal(http.StatusTooManyRequests)
}

func (c *Client) Enter(headers ...string) {
	c.T.Helper()
	c.Write(Upgrade(modes.PathEcho, headers...).Bytes())
	c.ExpectUpgrade("")
}

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

// Enter upgrades to the echo endpoint with these headers and expects that it works.
func (c *Client) Enter(headers ...string) {
	c.T.Helper()
	c.Write(Upgrade(modes.PathEcho, headers...).Bytes())
	c.ExpectUpgrade("")
}

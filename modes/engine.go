// Package modes is the contract that both engines obey: what they are given, the
// limits, and what is counted.
package modes

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Paths of the endpoints that connections come to.
const (
	PathCentrifuge = "/connection/websocket"
	PathRaw        = "/ws"
	PathEcho       = "/echo"
	PathSSE        = "/sse"
	PathStream     = "/stream"
)

// Engine owns the sockets: accept, upgrade, read, write, close, fan-out. Its
// constructor has bound the address already. It has more than four methods
// because it is the whole of what the server needs of a mode. All methods may
// be called concurrently.
type Engine interface {
	Receiver

	// Addr is the address that clients connect to.
	Addr() net.Addr

	// Serve accepts and serves connections until Drain has ended or ctx is
	// done; then everything it started has stopped, its connections are
	// closed, and it returns nil. An error means that it cannot go on.
	Serve(ctx context.Context) error

	// Drain stops accepting, closes the connections with code 3001, spread
	// evenly over spread, and returns when they are gone or ctx is done.
	Drain(ctx context.Context, spread time.Duration) error

	// Disconnect closes the connection with this client id. False: there is
	// none.
	Disconnect(client string, d wire.Disconnect) bool
}

// Config is what both engines need to run. Nothing in it changes once an engine
// has it.
type Config struct {
	// Addr is the TCP address to listen on.
	Addr string
	// TLS, unless it is nil, has everything on Addr speak TLS. Its NextProtos is
	// http/1.1 alone.
	TLS *tls.Config
	// Handler answers the requests on the same port that are for no WebSocket
	// endpoint.
	Handler http.Handler
	Bus     Bus
	// Admission decides which clients are let in.
	Admission *admission.Controller
	// Echo opens /echo.
	Echo   bool
	Rules  session.Rules
	Limits Limits
	// Compression offers permessage-deflate (RFC 7692) to clients.
	Compression bool
	Stats       *Stats
	Log         *slog.Logger
}

// Limits bound what a connection may cost and how long it may take.
type Limits struct {
	// MaxMessageSize is the largest message a client may send, in bytes.
	MaxMessageSize int
	// MaxHeaderSize is the largest request line and headers of an HTTP request, in
	// bytes; 0: DefaultMaxHeaderSize.
	MaxHeaderSize int
	// MaxQueuedBytes is how much may wait for a slow client before it is
	// disconnected.
	MaxQueuedBytes int
	// HandshakeTimeout is the time from accept to the complete request, from
	// upgrade to the connect command, and from the first byte of a message to
	// its last.
	HandshakeTimeout time.Duration
	// PingInterval is the time between two pings; 0: none.
	PingInterval time.Duration
	// PongTimeout is the time a client has to answer one.
	PongTimeout time.Duration
	// GapRate is how many subscriptions a second the node ends after the Redis
	// link broke, so that their clients do not all come back at once.
	GapRate int
}

// DefaultMaxHeaderSize is what MaxHeaderSize is by default, and the least that it
// may be.
const DefaultMaxHeaderSize = 8 << 10

// HeaderSize returns MaxHeaderSize or its default.
func (l *Limits) HeaderSize() int { return max(l.MaxHeaderSize, DefaultMaxHeaderSize) }

// CloseWait is how long a connection may take to answer a close frame.
const CloseWait = 5 * time.Second

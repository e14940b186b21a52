package wire

import "github.com/centrifugal/protocol"

// Error replies of the Centrifuge protocol. They are shared: never write to
// them.
var (
	ErrorInternal         = &protocol.Error{Code: 100, Message: "internal server error", Temporary: true}
	ErrorUnauthorized     = &protocol.Error{Code: 101, Message: "unauthorized"}
	ErrorUnknownChannel   = &protocol.Error{Code: 102, Message: "unknown channel"}
	ErrorPermissionDenied = &protocol.Error{Code: 103, Message: "permission denied"}
	ErrorMethodNotFound   = &protocol.Error{Code: 104, Message: "method not found"}
	ErrorAlreadySubscribe = &protocol.Error{Code: 105, Message: "already subscribed"}
	ErrorLimitExceeded    = &protocol.Error{Code: 106, Message: "limit exceeded"}
	ErrorBadRequest       = &protocol.Error{Code: 107, Message: "bad request"}
	ErrorNotAvailable     = &protocol.Error{Code: 108, Message: "not available"}
	ErrorTokenExpired     = &protocol.Error{Code: 109, Message: "token expired"}
	ErrorTooManyRequests  = &protocol.Error{Code: 111, Message: "too many requests", Temporary: true}
)

// Disconnect is the code and reason of a close frame. 3000 to 3499 invite the
// client to reconnect, 3500 to 3999 forbid it; below 3000 they are RFC 6455's.
type Disconnect struct {
	Code   uint16
	Reason string
}

// The disconnects that Tandem sends. The reason is also the metrics label.
var (
	DisconnectNormal           = Disconnect{1000, ""}
	DisconnectProtocol         = Disconnect{1002, "protocol error"}
	DisconnectInvalidPayload   = Disconnect{1007, "invalid payload"}
	DisconnectTooBig           = Disconnect{1009, "message too big"}
	DisconnectConnectionClosed = Disconnect{3000, "connection closed"}
	DisconnectShutdown         = Disconnect{3001, "shutdown"}
	DisconnectInternal         = Disconnect{3004, "internal server error"}
	DisconnectExpired          = Disconnect{3005, "connection expired"}
	DisconnectSubExpired       = Disconnect{3006, "subscription expired"}
	DisconnectSlow             = Disconnect{3008, "slow"}
	DisconnectWriteError       = Disconnect{3009, "write error"}
	DisconnectInsufficient     = Disconnect{3010, "insufficient state"}
	DisconnectForceReconnect   = Disconnect{3011, "force reconnect"}
	DisconnectNoPong           = Disconnect{3012, "no pong"}
	DisconnectTooManyRequests  = Disconnect{3013, "too many requests"}
	DisconnectInvalidToken     = Disconnect{3500, "invalid token"}
	DisconnectBadRequest       = Disconnect{3501, "bad request"}
	DisconnectStale            = Disconnect{3502, "stale"}
	DisconnectForce            = Disconnect{3503, "force disconnect"}
	DisconnectConnectionLimit  = Disconnect{3504, "connection limit"}
	DisconnectChannelLimit     = Disconnect{3505, "channel limit"}
	DisconnectPermissionDenied = Disconnect{3507, "permission denied"}
)

// Unsubscribe is the code and reason with which the server ends a subscription.
// From 2500 on, clients answer by subscribing again.
type Unsubscribe struct {
	Code   uint32
	Reason string
}

var (
	// UnsubscribeInsufficient tells a client that messages may have been missed.
	UnsubscribeInsufficient = Unsubscribe{2500, "insufficient state"}
	// UnsubscribeExpired tells it that its token for the channel has run out.
	UnsubscribeExpired = Unsubscribe{2501, "subscription expired"}
)

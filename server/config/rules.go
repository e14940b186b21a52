package config

import (
	"fmt"

	"github.com/tandem-ws/tandem/modes/protocol/session"
)

// Rules returns what clients may do, but for what TokenVerifier verifies.
func (c *Config) Rules() session.Rules {
	return session.Rules{
		CommandRate:      c.CommandRate,
		PrivatePrefix:    c.PrivatePrefix,
		TokenGrace:       c.TokenGrace,
		PingInterval:     c.PingInterval,
		ClientPublish:    c.ClientPublish,
		MaxChannels:      c.MaxChannels,
		MaxChannelLength: c.MaxChannelLength,
		RedisPrefix:      c.RedisPrefix,
	}
}

// What a command or a reply takes, in bytes, beside the name of its channel: syntax,
// and a token that is signed with RSA and holds the name.
const (
	syntaxSize = 64
	tokenSize  = 1024 - syntaxSize
)

// Warnings returns a line for each combination of values that is allowed and likely
// to be a mistake.
func (c *Config) Warnings() (lines []string) {
	if c.ClientPublish && c.RedisPrefix == "" {
		lines = append(lines, "CLIENT_PUBLISH=true without REDIS_PREFIX: clients may publish to every channel of this Redis, those of other programs too: set REDIS_PREFIX")
	}
	// SDKs subscribe again to all their channels in one message, and a message that is
	// too big ends the connection for good.
	each := c.MaxChannelLength + syntaxSize
	if c.TokensNeeded() {
		each += tokenSize
	}
	if need := c.MaxChannels * each; need > c.MaxMessageSize {
		lines = append(lines, fmt.Sprintf("MAX_MESSAGE_SIZE=%d: a client that comes back with MAX_CHANNELS=%d channels may send %d bytes: raise MAX_MESSAGE_SIZE, or lower MAX_CHANNELS or MAX_CHANNEL_LENGTH",
			c.MaxMessageSize, c.MaxChannels, need))
	}
	// The reply to a connect command names all channels.
	if need := c.MaxChannels * (c.MaxChannelLength + syntaxSize); need > c.MaxQueuedBytes {
		lines = append(lines, fmt.Sprintf("MAX_QUEUED_BYTES=%d: the reply to a client with MAX_CHANNELS=%d channels may take %d bytes: raise MAX_QUEUED_BYTES, or lower MAX_CHANNELS or MAX_CHANNEL_LENGTH",
			c.MaxQueuedBytes, c.MaxChannels, need))
	}
	if c.MaxQueuedBytes < c.MaxMessageSize && (c.ClientPublish || c.Echo) {
		lines = append(lines, fmt.Sprintf("MAX_QUEUED_BYTES=%d: less than MAX_MESSAGE_SIZE=%d: what one client may send does not fit what may wait for another: raise MAX_QUEUED_BYTES, or lower MAX_MESSAGE_SIZE",
			c.MaxQueuedBytes, c.MaxMessageSize))
	}
	return lines
}

// TokensNeeded reports whether clients need a token to connect.
func (c *Config) TokensNeeded() bool {
	return c.TokenSecret != "" || c.TokenPublicKey != "" || c.TokenPublicKeyFile != "" || c.TokenJWKSFile != ""
}

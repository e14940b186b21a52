package config

import "github.com/tandem-ws/tandem/modes/protocol/session"

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
	}
}

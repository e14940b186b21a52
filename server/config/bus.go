package config

import "github.com/tandem-ws/tandem/redisbus"

// BusOptions returns the options of the bus to the Redis at url.
func (c *Config) BusOptions(url string) redisbus.Options {
	linger := c.ChannelLinger
	if linger == 0 {
		linger = -1
	}
	return redisbus.Options{
		URL: url, Prefix: c.RedisPrefix, Connections: c.RedisConnections,
		HeartbeatInterval: c.HeartbeatInterval, HeartbeatTimeout: c.HeartbeatTimeout,
		SubscribeTimeout: c.SubscribeTimeout, Linger: linger,
	}
}

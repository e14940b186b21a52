package config

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/tandem-ws/tandem/redisbus"
)

// errEncoding is what is wrong with most URLs that cannot be parsed.
var errEncoding = errors.New("cannot be parsed: special characters in a user or password must be percent-encoded")

// validRedisURL returns what is wrong with REDIS_URL. Its errors never quote what may be
// a password: in a URL that is not well formed, that is nearly all of it.
func (c *Config) validRedisURL() error {
	u, err := url.Parse(c.RedisURL)
	switch {
	case err != nil && strings.Contains(c.RedisURL, "@"):
		return errEncoding
	case err != nil:
		return errors.New("is not a URL")
	case !strings.Contains(c.RedisURL, "://"):
		return errors.New("has no scheme: redis, rediss or unix")
	case u.Scheme == "unix":
		if u.Host+u.Path == "" {
			return errors.New("has no path")
		}
	case u.Scheme != "redis" && u.Scheme != "rediss":
		return fmt.Errorf("scheme %q is none of redis, rediss, unix", u.Scheme)
	case strings.Contains(u.Path+u.RawQuery+u.Fragment, "@"):
		// What precedes the @ was meant to be a password.
		return errEncoding
	case u.Host == "":
		return errors.New("has no host")
	case strings.ContainsAny(u.Host, ", "):
		return errors.New("names several hosts instead of one")
	case u.Port() != "":
		if port, err := strconv.Atoi(u.Port()); err != nil || port < 1 || port > 65535 {
			return fmt.Errorf("%s is not a port", u.Port())
		}
	}
	if err := c.BusOptions(c.RedisURL).Validate(); err != nil {
		return err
	}
	return nil
}

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

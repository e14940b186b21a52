package config

import (
	"errors"
	"fmt"
	"net"
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
	// URLs that name several sentinels are not for package url; the bus parses them.
	if scheme, rest, ok := strings.Cut(c.RedisURL, "://"); ok && strings.HasSuffix(strings.ToLower(scheme), "+sentinel") {
		if err := c.BusOptions(c.RedisURL).Validate(); err != nil {
			return err
		}
		if end := strings.IndexAny(rest, "/?#"); end >= 0 {
			rest = rest[:end]
		}
		for host := range strings.SplitSeq(rest[strings.LastIndexByte(rest, '@')+1:], ",") {
			if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
				if err := validPort(port); err != nil {
					return err
				}
			}
		}
		return nil
	}
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
		return fmt.Errorf("scheme %q is none of redis, rediss, unix, redis+sentinel, rediss+sentinel", u.Scheme)
	case strings.Contains(u.Path+u.RawQuery+u.Fragment, "@"):
		// What precedes the @ was meant to be a password.
		return errEncoding
	case u.Host == "":
		return errors.New("has no host")
	case strings.ContainsAny(u.Host, ", "):
		return errors.New("names several hosts instead of one")
	case u.Port() != "":
		if err := validPort(u.Port()); err != nil {
			return err
		}
	}
	if err := c.BusOptions(c.RedisURL).Validate(); err != nil {
		return err
	}
	return nil
}

// validPort returns what is wrong with a port to connect to.
func validPort(port string) error {
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("%s is not a port", port)
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

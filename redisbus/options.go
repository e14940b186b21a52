package redisbus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// CommandLink stands for the connection that publishes, which has no number.
const CommandLink = -1

// Options configure a Bus. A zero field means its default.
type Options struct {
	// URL of the Redis: redis://user:password@host:port/db, rediss:// for TLS,
	// or unix:///path. Everything that go-redis's ParseURL accepts. Or of
	// sentinels: redis+sentinel://user:password@host:port,host:port/db?master=name,
	// rediss+sentinel:// for TLS to both; the user and the password are Redis's, those
	// of the sentinels are the parameters sentinel_username and sentinel_password.
	// Required.
	URL string

	// Prefix stands before every channel in Redis, and nowhere else.
	Prefix string

	// Connections is the number of Pub/Sub connections; channels are spread over
	// them by hash. One connection reads some 500,000 messages a second, and
	// each has its own gap when it breaks. Default 1.
	Connections int

	// HeartbeatInterval is the time between two heartbeats on each connection to
	// Redis: PING, ROLE and the probe. Default 3 s.
	HeartbeatInterval time.Duration

	// HeartbeatTimeout is how long Redis may leave any command unanswered, and
	// everything else unsent, before the link is given up. A paused or
	// half-open Redis is therefore noticed within HeartbeatInterval +
	// HeartbeatTimeout. Default 3 s.
	HeartbeatTimeout time.Duration

	// SubscribeTimeout bounds how long Subscribe waits for Redis. Default 10 s.
	SubscribeTimeout time.Duration

	// Linger is how long a channel without references stays subscribed at the
	// least, so that clients that leave and come back cost Redis nothing; it is
	// twice that at the most. Negative: not at all. Default 1 s.
	Linger time.Duration

	// ReconnectMin and ReconnectMax bound the pause between two attempts to
	// reach Redis, which doubles from one to the next and is jittered by half.
	// Defaults 50 ms and 2 s.
	ReconnectMin, ReconnectMax time.Duration

	// MaxQueuedPublishes and MaxQueuedPublishBytes bound what Publish has
	// accepted and Redis has not. Defaults 16,384 and 32 MiB.
	MaxQueuedPublishes, MaxQueuedPublishBytes int

	// Heartbeat, where it is set, is called with what each heartbeat took: link
	// is the number of the Pub/Sub connection, or CommandLink. It must not
	// block.
	Heartbeat func(link int, roundTrip time.Duration)

	// Log takes the changes of the links' state. Default: nothing is logged.
	Log *slog.Logger

	resolver *net.Resolver // of the tests; nil: net's own
}

func (o *Options) setDefaults() {
	setDefault(&o.Connections, 1)
	setDefault(&o.HeartbeatInterval, 3*time.Second)
	setDefault(&o.HeartbeatTimeout, 3*time.Second)
	setDefault(&o.SubscribeTimeout, 10*time.Second)
	setDefault(&o.Linger, time.Second)
	o.Linger = max(o.Linger, 0)
	setDefault(&o.ReconnectMin, 50*time.Millisecond)
	setDefault(&o.ReconnectMax, 2*time.Second)
	setDefault(&o.MaxQueuedPublishes, 16<<10)
	setDefault(&o.MaxQueuedPublishBytes, 32<<20)
	if o.Heartbeat == nil {
		o.Heartbeat = func(int, time.Duration) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate returns the error that New would return: one line that says what is
// wrong, and holds no password.
func (o Options) Validate() error {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	_, _, err := o.topology()
	return err
}

func (o *Options) validate() error {
	switch {
	case o.Connections < 0:
		return fmt.Errorf("redisbus: %d Pub/Sub connections: must be at least 1", o.Connections)
	case o.HeartbeatInterval < 0, o.HeartbeatTimeout < 0, o.SubscribeTimeout < 0:
		return errors.New("redisbus: heartbeat interval, heartbeat timeout and subscribe timeout must be positive")
	case o.ReconnectMin < 0, o.ReconnectMax < o.ReconnectMin:
		return fmt.Errorf("redisbus: reconnect pause from %v to %v: must be positive and ascending", o.ReconnectMin, o.ReconnectMax)
	case o.MaxQueuedPublishes < 0, o.MaxQueuedPublishBytes < 0:
		return errors.New("redisbus: publish queue bounds must be positive")
	}
	return nil
}

// formats are the URLs that there are.
const formats = "want redis://host:port, rediss://host:port, unix:///path or redis+sentinel://host:port,host:port/?master=name"

// topology returns what the URL says of where Redis is, and what all connections
// to it have in common.
func (o *Options) topology() (*redis.Options, topology, error) {
	if o.URL == "" {
		return nil, nil, errors.New("redisbus: no Redis URL: " + formats)
	}
	if isSentinel(o.URL) {
		return o.sentinels()
	}
	opts, err := o.parse(o.URL)
	if err != nil {
		return nil, nil, err
	}
	return opts, newSingle(opts, o), nil
}

// parse returns the options of a URL that names one Redis. No error holds a
// password.
func (o *Options) parse(address string) (*redis.Options, error) {
	opts, err := redis.ParseURL(address)
	if err != nil {
		// What url.Parse says repeats the URL, and with it the password.
		if parse := (*url.Error)(nil); errors.As(err, &parse) {
			err = parse.Err
			if strings.Contains(address, "@") {
				err = errors.New("cannot be parsed (special characters in a password must be percent-encoded)")
			}
		}
		return nil, fmt.Errorf("redisbus: bad Redis URL: %w; %s", err, formats)
	}
	if opts.DialTimeout == 0 {
		opts.DialTimeout = o.HeartbeatTimeout
	}
	opts.ReadTimeout = o.HeartbeatTimeout
	opts.WriteTimeout = o.HeartbeatTimeout
	return opts, nil
}

package redisbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// CommandLink stands for the connection that publishes, which has no number.
const CommandLink = -1

// Options configure a Bus. A zero field means its default.
type Options struct {
	// URL of the Redis: redis://user:password@host:port/db, rediss:// for TLS,
	// or unix:///path. Everything that go-redis's ParseURL accepts. Required.
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
	_, err := o.redisOptions()
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

// redisOptions are what the connections to Redis have in common.
func (o *Options) redisOptions() (*redis.Options, error) {
	if o.URL == "" {
		return nil, errors.New("redisbus: no Redis URL: want redis://host:port, rediss://host:port or unix:///path")
	}
	opts, err := redis.ParseURL(o.URL)
	if err != nil {
		// What url.Parse says repeats the URL, and with it the password.
		if parse := (*url.Error)(nil); errors.As(err, &parse) {
			err = parse.Err
			if strings.Contains(o.URL, "@") {
				err = errors.New("cannot be parsed (special characters in a password must be percent-encoded)")
			}
		}
		return nil, fmt.Errorf("redisbus: bad Redis URL: %w; want redis://host:port, rediss://host:port or unix:///path", err)
	}
	// What parseReply knows.
	opts.Protocol = 2
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	// A command that is repeated may be executed twice. The bus repeats what is
	// safe to repeat.
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	if opts.DialTimeout == 0 {
		opts.DialTimeout = o.HeartbeatTimeout
	}
	opts.ReadTimeout = o.HeartbeatTimeout
	opts.WriteTimeout = o.HeartbeatTimeout
	opts.ContextTimeoutEnabled = true
	opts.PoolSize = 1
	opts.MinIdleConns = 0
	// Negative: pipelines take the one connection that the pool has, so that
	// PING says something about it.
	opts.PipelinePoolSize = -1
	opts.ConnMaxIdleTime = -1
	opts.ReadBufferSize = 64 << 10
	return opts, nil
}

// redisLog takes what go-redis writes to its one global logger. The bus reports
// the same failures itself, once and with their consequence.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "go-redis", "message", fmt.Sprintf(format, args...))
}

var setRedisLog sync.Once

package redisbus

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Send publishes one message without a Bus: it connects, publishes and
// disconnects. It returns how many clients of Redis were subscribed. The error
// holds no password.
func Send(ctx context.Context, opts Options, channel string, data []byte) (receivers int64, err error) {
	client, err := once(&opts)
	if err != nil {
		return 0, err
	}
	defer func() { _ = client.Close() }()
	receivers, err = client.Publish(ctx, opts.Prefix+channel, data).Result()
	if err != nil {
		return 0, fmt.Errorf("redisbus: publish: %w", err)
	}
	return receivers, nil
}

// Report is what Probe found.
type Report struct {
	Addr      string // host:port, or the path of a Unix socket
	Version   string // "Redis" where Redis does not tell
	RoundTrip time.Duration
	Delivery  time.Duration // of a message, from PUBLISH until it came back
}

// Probe tries what a Bus with these options needs of Redis: that it answers,
// and that a message published to a channel under the prefix comes back to a
// subscriber. Its error says which of it failed, and holds no password.
func Probe(ctx context.Context, opts Options) (Report, error) {
	client, err := once(&opts)
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = client.Close() }()
	r := Report{Addr: client.Options().Addr, Version: "Redis"}
	// The first command connects too.
	if err := client.Ping(ctx).Err(); err != nil {
		return r, fmt.Errorf("redisbus: Redis at %s: %w", r.Addr, err)
	}
	sent := time.Now()
	if err := client.Ping(ctx).Err(); err != nil {
		return r, fmt.Errorf("redisbus: Redis at %s: %w", r.Addr, err)
	}
	r.RoundTrip = time.Since(sent)
	// INFO may be forbidden, and nothing but this line needs it.
	if info, err := client.Info(ctx, "server").Result(); err == nil {
		r.Version += versionIn(info)
	}
	r.Delivery, err = delivery(ctx, client, opts.Prefix+"tandem.check."+rand.Text())
	if err != nil {
		return r, fmt.Errorf("redisbus: Redis at %s: %w", r.Addr, err)
	}
	return r, nil
}

// delivery is how long a message on channel takes.
func delivery(ctx context.Context, client *redis.Client, channel string) (time.Duration, error) {
	pubsub := client.Subscribe(ctx, channel)
	defer func() { _ = pubsub.Close() }()
	if _, err := pubsub.Receive(ctx); err != nil {
		return 0, fmt.Errorf("subscribe: %w", err)
	}
	sent := time.Now()
	if err := client.Publish(ctx, channel, "check").Err(); err != nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	if _, err := pubsub.ReceiveMessage(ctx); err != nil {
		return 0, fmt.Errorf("receive what was published: %w", err)
	}
	return time.Since(sent), nil
}

// versionIn finds the version in what INFO says, with a space before it.
func versionIn(info string) string {
	for line := range strings.Lines(info) {
		if version, ok := strings.CutPrefix(line, "redis_version:"); ok {
			return " " + strings.TrimSpace(version)
		}
	}
	return ""
}

// once returns a client for a few commands.
func once(opts *Options) (*redis.Client, error) {
	opts.setDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	redisOpts, err := opts.redisOptions()
	if err != nil {
		return nil, err
	}
	setRedisLog.Do(func() { redis.SetLogger(redisLog{opts.Log}) })
	return redis.NewClient(redisOpts), nil
}

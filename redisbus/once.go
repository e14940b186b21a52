package redisbus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Send publishes one message without a Bus: it connects, publishes and
// disconnects. It returns how many clients of Redis were subscribed. The error
// holds no password.
func Send(ctx context.Context, opts Options, channel string, data []byte) (receivers int64, err error) {
	o, err := newOnce(&opts)
	if err != nil {
		return 0, err
	}
	c, stop, err := o.connect(ctx, forCommands)
	if err != nil {
		return 0, fmt.Errorf("redisbus: publish: %w", err)
	}
	defer stop()
	v, err := c.do("PUBLISH", opts.Prefix+channel, string(data))
	if err != nil {
		return 0, fmt.Errorf("redisbus: publish: %w", err)
	}
	return v.number(), nil
}

// Report is what Probe found.
type Report struct {
	Addr      string // host:port, or the path of a Unix socket; with Sentinel, the master's
	Version   string // "Redis" where Redis does not tell
	RoundTrip time.Duration
	Delivery  time.Duration // of a message, from PUBLISH until it came back
	Master    bool          // the server says that it is a master; one that is none is an error
	Sentinels int           // that the node knows of; 0: there are none
}

// Probe tries what a Bus with these options needs of Redis: that it answers,
// is a master, and that a message published to a channel like that of a node's
// probe comes back to a subscriber. Its error says which of it failed, and holds no password.
func Probe(ctx context.Context, opts Options) (Report, error) {
	o, err := newOnce(&opts)
	if err != nil {
		return Report{}, err
	}
	r := Report{Version: "Redis"}
	if r.Addr, err = o.topology.master(ctx); err != nil {
		return r, fmt.Errorf("redisbus: %w", err)
	}
	fail := func(err error) (Report, error) {
		return r, fmt.Errorf("redisbus: Redis at %s: %s", r.Addr, textOf(err))
	}
	c, stop, err := o.connect(ctx, forCommands)
	if err != nil {
		return fail(err)
	}
	defer stop()
	r.Master = c.role
	if s, ok := o.topology.(*sentinels); ok {
		r.Sentinels = len(s.addresses())
	}
	sent := time.Now()
	if _, err := c.do("PING"); err != nil {
		return fail(err)
	}
	r.RoundTrip = time.Since(sent)
	// INFO may be forbidden, and nothing but this line needs it.
	if info, err := c.do("INFO", "server"); err == nil {
		r.Version += versionIn(string(info.text))
	}
	if r.Delivery, err = o.delivery(ctx, c, newProbe(opts.Prefix).name); err != nil {
		return fail(err)
	}
	return r, nil
}

// once makes connections without a Bus.
type once struct {
	own      *Options
	opts     *redis.Options
	topology topology
}

func newOnce(opts *Options) (*once, error) {
	opts.setDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	redisOpts, topology, err := opts.topology()
	if err != nil {
		return nil, err
	}
	return &once{own: opts, opts: redisOpts, topology: topology}, nil
}

// connect returns a connection that lives until stop is called or ctx ends.
func (o *once) connect(ctx context.Context, use use) (c *conn, stop func(), err error) {
	d := &dialer{opts: o.opts, topology: o.topology, resolver: o.own.resolver, use: use}
	if c, err = d.connect(ctx); err != nil {
		return nil, nil, err
	}
	ended := context.AfterFunc(ctx, func() { _ = c.Close() })
	return c, func() {
		ended()
		_ = c.Close()
	}, nil
}

// delivery is how long a message on channel takes that c publishes.
func (o *once) delivery(ctx context.Context, c *conn, channel string) (time.Duration, error) {
	subscriber, stop, err := o.connect(ctx, forPubSub)
	if err != nil {
		return 0, err
	}
	defer stop()
	if _, err := subscriber.do("SUBSCRIBE", channel); err != nil {
		return 0, fmt.Errorf("subscribe: %w", err)
	}
	sent := time.Now()
	if _, err := c.do("PUBLISH", channel, "check"); err != nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	if _, err := subscriber.read(); err != nil {
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

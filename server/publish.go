package server

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/redisbus"
	"github.com/tandem-ws/tandem/server/config"
)

// publish sends one message to a channel, through Redis, as a back end does.
func publish(i *invocation) int {
	flags := flag.NewFlagSet("publish", flag.ContinueOnError)
	if code, done := i.parse(flags, 2, 2); done {
		return code
	}
	c, err := i.config()
	if err != nil {
		return outcome(i.stderr, err)
	}
	channel := flags.Arg(0)
	if line := invalidChannel(&c, channel); line != "" {
		return refuse(i.stderr, "tandem: publish: "+line)
	}
	data := []byte(flags.Arg(1))
	if flags.Arg(1) == "-" {
		if data, err = io.ReadAll(i.stdin); err != nil {
			return outcome(i.stderr, fmt.Errorf("tandem: publish: %w", err))
		}
		// What a shell or an editor puts at the end of a line is not meant.
		data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	}
	if len(data) == 0 {
		return refuse(i.stderr, "tandem: publish: DATA is empty: clients get no empty messages")
	}
	receivers, err := publishOnce(&c, channel, data)
	if err == nil {
		_, err = fmt.Fprintf(i.stdout, "received by %d\n", receivers)
	}
	return outcome(i.stderr, err)
}

// invalidChannel returns why clients cannot subscribe to channel, in one line, or "" if
// they can.
func invalidChannel(c *config.Config, channel string) string {
	rules := c.Rules()
	switch err := rules.CheckChannel(channel); {
	case err == nil:
		return ""
	case errors.Is(err, session.ErrChannelReserved):
		return fmt.Sprintf("%q is not a channel: Redis reserves the name %q", channel, c.RedisPrefix+channel)
	}
	return fmt.Sprintf("%.64q is not a channel that clients can subscribe to: write 1 to %d bytes of UTF-8 without control characters", channel, c.MaxChannelLength)
}

// publishOnce returns how many subscribers Redis had for the channel: servers,
// not their clients.
func publishOnce(c *config.Config, channel string, data []byte) (receivers int64, err error) {
	ctx, cancel := interrupted()
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, c.SubscribeTimeout)
	defer cancel()
	receivers, err = redisbus.Send(ctx, c.BusOptions(redisURL(c)), channel, data)
	if err != nil {
		return 0, fmt.Errorf("tandem: publish: %w", err)
	}
	return receivers, nil
}

// redisURL returns the URL of Redis, or of the Redis that a server would embed.
func redisURL(c *config.Config) string {
	switch {
	case c.RedisURL != "":
		return c.RedisURL
	case c.EmbeddedRedisAddr != "":
		return "redis://" + c.EmbeddedRedisAddr
	}
	return "redis://" + redisbus.DefaultEmbeddedAddr
}

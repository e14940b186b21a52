package server

import (
	"bytes"
	"flag"
	"fmt"
	"io"

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
	receivers, err := publishOnce(c, flags.Arg(0), flags.Arg(1), i.stdin)
	if err == nil {
		_, err = fmt.Fprintf(i.stdout, "received by %d\n", receivers)
	}
	return outcome(i.stderr, err)
}

// publishOnce returns how many subscribers Redis had for the channel: servers,
// not their clients.
func publishOnce(c config.Config, channel, data string, stdin io.Reader) (receivers int64, err error) {
	payload := []byte(data)
	if data == "-" {
		if payload, err = io.ReadAll(stdin); err != nil {
			return 0, fmt.Errorf("tandem: publish: %w", err)
		}
		// What a shell or an editor puts at the end of a line is not meant.
		payload = bytes.TrimSuffix(bytes.TrimSuffix(payload, []byte("\n")), []byte("\r"))
	}
	ctx, cancel := interrupted()
	defer cancel()
	receivers, err = redisbus.Send(ctx, c.BusOptions(redisURL(&c)), channel, payload)
	if err != nil {
		return 0, fmt.Errorf("tandem: publish: %w", err)
	}
	return receivers, nil
}

// redisURL is where Redis is, if only that of a server that embeds it.
func redisURL(c *config.Config) string {
	switch {
	case c.RedisURL != "":
		return c.RedisURL
	case c.EmbeddedRedisAddr != "":
		return "redis://" + c.EmbeddedRedisAddr
	}
	return "redis://" + redisbus.DefaultEmbeddedAddr
}

package main

import (
	"context"
	"flag"

	"github.com/tandem-ws/tandem/compare/redisserver"
	"github.com/tandem-ws/tandem/internal/command"
)

func runRedis(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("redis", flag.ContinueOnError)
	port := flags.Int("port", 6379, "`port` on loopback")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if *port < 1 || *port > 65535 {
		return command.Usagef("compare redis", "-port %d: choose 1 to 65535", *port)
	}
	return redisserver.Serve(ctx, *port)
}

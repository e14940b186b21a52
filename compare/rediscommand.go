package main

import (
	"context"
	"flag"

	"github.com/tandem-ws/tandem/compare/rig"
)

func runRedis(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("redis", flag.ContinueOnError)
	port := flags.Int("port", 6379, "port on loopback")
	if err := parse(flags, args); err != nil {
		return err
	}
	return rig.ServeEmbedded(ctx, *port)
}

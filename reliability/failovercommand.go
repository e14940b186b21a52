package main

import (
	"context"
	"flag"
	"os"

	"github.com/tandem-ws/tandem/internal/command"
	"github.com/tandem-ws/tandem/reliability/failover"
)

func runFailover(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("failover", flag.ContinueOnError)
	o := failover.Defaults()
	o.Out, o.Stderr = os.Stdout, os.Stderr
	mode := flags.String("mode", "", "`mode` to run, idiomatic or optimized (default both, one after the other)")
	flags.IntVar(&o.Clients, "connections", o.Clients, "number of clients that reconnect")
	flags.DurationVar(&o.DrainTime, "drain-time", o.DrainTime, "time over which the node spreads its close frames")
	flags.IntVar(&o.ConnectRate, "connect-rate", o.ConnectRate, "handshakes a second that a node accepts; 0 means any number")
	flags.StringVar(&o.Server, "server", "", "server `program` (default: built from source)")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if *mode != "" {
		o.Modes = []string{*mode}
	}
	return failover.Run(ctx, o)
}

package main

import (
	"context"
	"flag"
	"os"

	"github.com/tandem-ws/tandem/internal/command"
	"github.com/tandem-ws/tandem/reliability/soak"
)

func runSoak(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	o := soak.Defaults()
	o.Out, o.Stderr = os.Stdout, os.Stderr
	mode := flags.String("mode", "", "`mode` to run, idiomatic or optimized (default both, side by side)")
	flags.DurationVar(&o.For, "for", o.For, "duration")
	flags.DurationVar(&o.Cycle, "cycle", o.Cycle, "duration of the load in each cycle")
	flags.StringVar(&o.Server, "server", "", "server `program` (default: built from source)")
	flags.BoolVar(&o.Race, "race", false, "build the server with the race detector, and fail if it reports a race")
	flags.IntVar(&o.Clients, "clients", o.Clients, "number of clients")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "messages published a second")
	flags.Float64Var(&o.Churn, "churn", o.Churn, "clients replaced, interrupted or resubscribed a second")
	flags.DurationVar(&o.TokenLife, "token-life", o.TokenLife, "validity of the clients' tokens, in whole seconds")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if *mode != "" {
		o.Modes = []string{*mode}
	}
	return soak.Run(ctx, o)
}

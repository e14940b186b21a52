package main

import (
	"context"
	"flag"
	"os"

	"github.com/tandem-ws/tandem/compare/soak"
)

func runSoak(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	o := soak.Defaults()
	o.Out, o.Stderr = os.Stdout, os.Stderr
	mode := flags.String("mode", "", "idiomatic or optimized (default both, side by side)")
	flags.DurationVar(&o.For, "for", o.For, "how long")
	flags.DurationVar(&o.Cycle, "cycle", o.Cycle, "how long a cycle is under load")
	flags.StringVar(&o.Server, "server", "", "`program` to run as the server (default: built from the source)")
	flags.BoolVar(&o.Race, "race", false, "build the server with the race detector, and fail on what it finds")
	flags.IntVar(&o.Witnesses, "witnesses", o.Witnesses, "connections that are watched")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "messages published a second")
	flags.Float64Var(&o.Churn, "churn", o.Churn, "connections and subscriptions ended and begun a second")
	flags.DurationVar(&o.TokenLife, "token-life", o.TokenLife, "after how long clients' tokens run out, in whole seconds")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *mode != "" {
		o.Modes = []string{*mode}
	}
	return soak.Run(ctx, o)
}

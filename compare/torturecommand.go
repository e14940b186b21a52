package main

import (
	"context"
	"flag"
	"os"

	"github.com/tandem-ws/tandem/compare/torture"
)

func runTorture(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("torture", flag.ContinueOnError)
	o := torture.Defaults()
	o.Out, o.Stderr = os.Stdout, os.Stderr
	mode := flags.String("mode", "", "idiomatic or optimized (default both, one after the other)")
	flags.IntVar(&o.Healthy, "healthy", o.Healthy, "connections that are measured")
	flags.IntVar(&o.Hostile, "hostile", o.Hostile, "hostile connections at once")
	flags.DurationVar(&o.Phase, "phase", o.Phase, "how long each attack lasts")
	flags.StringVar(&o.Server, "server", "", "`program` to run as the server (default: built from the source)")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *mode != "" {
		o.Modes = []string{*mode}
	}
	return torture.Run(ctx, o)
}

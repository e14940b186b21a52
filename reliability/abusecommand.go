package main

import (
	"context"
	"flag"
	"os"

	"github.com/tandem-ws/tandem/internal/command"
	"github.com/tandem-ws/tandem/reliability/abuse"
)

func runAbuse(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("abuse", flag.ContinueOnError)
	o := abuse.Defaults()
	o.Out, o.Stderr = os.Stdout, os.Stderr
	mode := flags.String("mode", "", "`mode` to run, idiomatic or optimized (default both, one after the other)")
	flags.IntVar(&o.Healthy, "healthy", o.Healthy, "number of healthy clients, which are measured")
	flags.IntVar(&o.Hostile, "hostile", o.Hostile, "number of hostile clients that attack at once")
	flags.DurationVar(&o.Phase, "phase", o.Phase, "duration of each attack")
	flags.StringVar(&o.Server, "server", "", "server `program` (default: built from source)")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if *mode != "" {
		o.Modes = []string{*mode}
	}
	return abuse.Run(ctx, o)
}

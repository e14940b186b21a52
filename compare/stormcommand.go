package main

import (
	"context"
	"flag"
	"os"

	"github.com/tandem-ws/tandem/compare/storm"
)

func runStorm(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("storm", flag.ContinueOnError)
	o := storm.Defaults()
	o.Out, o.Stderr = os.Stdout, os.Stderr
	mode := flags.String("mode", "", "idiomatic or optimized (default both, one after the other)")
	flags.IntVar(&o.Witnesses, "connections", o.Witnesses, "connections that come back")
	flags.DurationVar(&o.DrainTime, "drain-time", o.DrainTime, "over how long the node spreads its closing")
	flags.IntVar(&o.ConnectRate, "connect-rate", o.ConnectRate, "handshakes a second that a node takes; 0: any number")
	flags.StringVar(&o.Server, "server", "", "`program` to run as the server (default: built from the source)")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *mode != "" {
		o.Modes = []string{*mode}
	}
	return storm.Run(ctx, o)
}

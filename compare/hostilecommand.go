package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/tandem-ws/tandem/compare/hostile"
)

func runHostile(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("hostile", flag.ContinueOnError)
	options := flags.String("options", "", "what to do, as `JSON`: see package hostile")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *options == "" {
		fmt.Fprintln(os.Stderr, "compare hostile: -options is missing")
		return errUsage
	}
	return hostile.Serve(ctx, *options, os.Stdout)
}

package main

import (
	"context"
	"flag"
	"os"

	"github.com/tandem-ws/tandem/internal/command"
	"github.com/tandem-ws/tandem/reliability/attack"
)

func runAttack(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("attack", flag.ContinueOnError)
	options := flags.String("options", "", "options as `JSON`: see package attack")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if *options == "" {
		return command.Usagef("reliability attack", "-options is missing")
	}
	return attack.Serve(ctx, *options, os.Stdout)
}

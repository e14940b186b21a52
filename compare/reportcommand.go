package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/tandem-ws/tandem/compare/report"
	"github.com/tandem-ws/tandem/internal/command"
)

func runReport(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	bench := flags.Bool("bench", false, "print Go benchmark format, for benchstat")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), `usage: compare report DIR         rebuild every table and picture of a results folder
       compare report OLD NEW     compare two folders
       compare report -bench DIR  print Go benchmark format, for benchstat
`)
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return command.ErrUsage
	}
	switch {
	case *bench && flags.NArg() == 1:
		r, err := report.Load(flags.Arg(0))
		if err != nil {
			return err
		}
		return r.Bench(os.Stdout)
	case flags.NArg() == 1:
		return show(os.Stdout, flags.Arg(0))
	case flags.NArg() == 2 && !*bench:
		before, err := report.Load(flags.Arg(0))
		if err != nil {
			return err
		}
		after, err := report.Load(flags.Arg(1))
		if err != nil {
			return err
		}
		return report.Changes(os.Stdout, before, after, command.Columns(os.Stdout))
	}
	flags.Usage()
	return command.ErrUsage
}

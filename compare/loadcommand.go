package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/internal/command"
)

func runLoad(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if os.Getenv("GOMAXPROCS") == "" {
		// one for the loop, one for what reads commands and encodes answers
		runtime.GOMAXPROCS(2)
	}
	// the heap is small and hardly grows: collect seldom
	debug.SetGCPercent(400)
	// opened anew, so that closing it ends a Read under way: os.Stdin's would not
	in, err := os.Open("/dev/stdin")
	if err != nil {
		return fmt.Errorf("load: open standard input: %w", err)
	}
	return load.Serve(ctx, in, os.Stdout)
}

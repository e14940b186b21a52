package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/tandem-ws/tandem/compare/report"
	"github.com/tandem-ws/tandem/compare/run"
	"github.com/tandem-ws/tandem/compare/scenario"
	"github.com/tandem-ws/tandem/compare/variant"
	"github.com/tandem-ws/tandem/internal/command"
)

func runRun(ctx context.Context, args []string) error {
	o := run.Options{Args: args, Terminal: os.Stderr, Interactive: term.IsTerminal(int(os.Stderr.Fd()))}
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.StringVar(&o.Profile, "profile", "quick", "`size` of the run: quick (within 3 minutes), full (6 repeats, about half an hour) or tiny (to try it out)")
	only := flags.String("variants", "", "comma-separated `list` of built-in variants to measure: idiomatic, idiomatic-tuned, optimized, or none (default all)")
	flags.StringVar(only, "arms", "", "old name of -variants")
	var specs []string
	addVariant := func(s string) error {
		specs = append(specs, s)
		return nil
	}
	flags.Func("variant", "add a variant: NAME=KEY=VALUE,... starts a server with that environment; NAME=ws://host:port/path,pid=N,redis=URL (or api=URL,key=KEY) is a server that is running; can be repeated", addVariant)
	flags.Func("arm", "old name of -variant", addVariant)
	chosen := flags.String("scenarios", "", "comma-separated `list` of scenarios: "+scenarioNames()+" (default all)")
	flags.IntVar(&o.Repeats, "repeats", 0, "runs of each variant in each scenario (default: the profile's)")
	flags.Func("connections", "comma-separated, ascending `numbers` of connections (default: the profile's)", func(s string) (err error) {
		o.Override.Connections, err = numbers(s)
		return err
	})
	flags.IntVar(&o.Override.Bytes, "size", 0, "bytes of a message (default: the scenario's, mostly 128)")
	flags.DurationVar(&o.Override.Measure, "window", 0, "duration of a measured window (default: the profile's)")
	flags.DurationVar(&o.Budget, "budget", 0, "skip the rest of the second and later repeats that would exceed this time (default: the profile's)")
	flags.StringVar(&o.Out, "out", "", "results `folder` (default: results/<time>)")
	flags.StringVar(&o.Server, "server", "", "server `program` (default: built from source)")
	list := flags.Bool("list", false, "describe the scenarios instead of running them")
	verbose := flags.Bool("v", false, "show the output of servers, load and Redis")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if *verbose {
		o.Stderr = os.Stderr
	}
	var err error
	if o.Variants, err = variant.Choose(*only, specs); err != nil {
		return err
	}
	if o.Scenarios, err = scenario.Choose(*chosen); err != nil {
		return err
	}
	if o.Self, err = os.Executable(); err != nil {
		return fmt.Errorf("run: find own program: %w", err)
	}
	if *list {
		return tell(os.Stdout, o)
	}
	folder, failed := run.Run(ctx, o)
	if folder == "" {
		return failed
	}
	return errors.Join(failed, show(os.Stdout, folder))
}

// tell describes the chosen scenarios.
func tell(w io.Writer, o run.Options) error {
	for _, s := range o.Scenarios {
		size, err := s.Sized(o.Profile, o.Override)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %s\n%s\n%s\n\n", s.Name, s.Title,
			command.Indent(s.Shows, "  "), command.Indent(o.Profile+" profile: "+s.Describe(size)+".", "  "))
	}
	return nil
}

// show writes a folder's report and pictures, and prints its table.
func show(w io.Writer, folder string) error {
	r, err := report.Load(folder)
	if err != nil {
		return err
	}
	if err := r.Table(w, command.Columns(os.Stdout)); err != nil {
		return err
	}
	files, err := r.Write(folder)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\nreport: %s\n", strings.Join(files, "\n        "))
	return err
}

func scenarioNames() string {
	var names []string
	for _, s := range scenario.All() {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

func numbers(list string) ([]int, error) {
	var all []int
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", s)
		}
		all = append(all, n)
	}
	return all, nil
}

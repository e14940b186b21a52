// Command compare measures what push servers cost under the same load. Run it
// without arguments for its subcommands.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// subcommand is one of compare's jobs. run parses args with a flag.FlagSet.
type subcommand struct {
	name, about string
	run         func(ctx context.Context, args []string) error
}

var subcommands = []subcommand{
	{"run", "take every arm through every scenario, and write a report", runRun},
	{"report", "rebuild a results folder's report, or compare two folders", runReport},
	{"live", "start both modes under one load and show both on a page", runLive},
	{"drive", "keep servers that run already under load, with metrics for Prometheus", runDrive},
	{"load", "load process: JSON commands on standard input, answers on standard output", runLoad},
	{"redis", "embedded Redis, for run where there is no redis-server", runRedis},
	{"anchor", "measure a server against the least that a server can spend", runAnchor},
	{"torture", "measure healthy clients while thousands of hostile ones attack", runTorture},
	{"storm", "end a node under all its clients, and see them come to another", runStorm},
	{"hostile", "process of hostile clients, which torture starts", runHostile},
	{"soak", "run servers for long under churn and faults, and fail on what is lost or grows", runSoak},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // who asks twice does not want to wait
	err := dispatch(ctx, os.Args[1:])
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "compare: %v\n", err)
		os.Exit(1)
	}
}

// errUsage says that usage was printed for want of a valid subcommand or flag.
var errUsage = errors.New("usage")

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		usage(os.Stderr)
		return errUsage
	}
	for _, s := range subcommands {
		if s.name == args[0] {
			return s.run(ctx, args[1:])
		}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(os.Stdout)
		return nil
	}
	fmt.Fprintf(os.Stderr, "compare: %q is no subcommand\n", args[0])
	usage(os.Stderr)
	return errUsage
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: compare SUBCOMMAND [flags]    (compare SUBCOMMAND -help for its flags)")
	for _, s := range subcommands {
		fmt.Fprintf(w, "  %-8s %s\n", s.name, s.about)
	}
}

// parse parses args, of which nothing but flags may be left.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage // flag has said what is wrong
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "compare %s: %q is no flag\n", flags.Name(), flags.Arg(0))
		return errUsage
	}
	return nil
}

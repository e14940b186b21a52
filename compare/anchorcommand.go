package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/tandem-ws/tandem/compare/anchor"
	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/internal/command"
)

func runAnchor(ctx context.Context, args []string) (err error) {
	o := anchor.Options{Columns: command.Columns(os.Stdout), Sizes: anchor.FullSizes, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags := flag.NewFlagSet("anchor", flag.ContinueOnError)
	floor := flags.String("floor", "", "C `source` of the floor program (default: the built-in one)")
	flags.StringVar(&o.Server, "server", "", "server `program` (default: built from source)")
	flags.StringVar(&o.Name, "name", "", "name of the server in the table (default: its MODE)")
	mode := flags.String("mode", "optimized", "MODE of the server")
	flags.Func("env", "`KEY=VALUE` setting of the server; can be repeated", func(kv string) error {
		o.Env = append(o.Env, kv)
		return nil
	})
	flags.Func("peer", "`NAME=PROGRAM` to measure as well: it is started with its own port and that of Redis, and speaks as the floor does; NAME alone means a built-in one ("+strings.Join(anchor.Builtin, ", ")+"); can be repeated", func(spec string) error {
		name, program, _ := strings.Cut(spec, "=")
		o.Peers = append(o.Peers, anchor.Peer{Name: name, Program: program})
		return nil
	})
	flags.StringVar(&o.Protocol, "protocol", "centrifuge", "`protocol` of the clients: centrifuge, raw, sse or stream")
	flags.IntVar(&o.Repeats, "repeats", 3, "runs of each scenario")
	only := flags.String("only", "", "comma-separated `list` of scenarios to run: "+strings.Join(anchor.Scenarios, ", "))
	flags.IntVar(&o.ServerCPU, "server-cpu", 0, "CPU of the server and of the floor")
	flags.IntVar(&o.LoadCPU, "load-cpu", 1, "CPU of load, Redis and publisher")
	flags.BoolVar(&o.LoadSleeps, "load-sleeps", false, "let the load sleep between messages, so that the server's writes must wake it, as they do on loopback only")
	flags.DurationVar(&o.Sizes.LowTime, "low-time", o.Sizes.LowTime, "duration of the low rate")
	flags.DurationVar(&o.Sizes.ManyTime, "many-time", o.Sizes.ManyTime, "duration of the messages to many channels")
	flags.IntVar(&o.Sizes.Payload, "payload", o.Sizes.Payload, "bytes of a message")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	if o.Name == "" {
		o.Name = *mode
	}
	o.Goals = *mode == "optimized"
	o.Env = append([]string{"MODE=" + *mode}, o.Env...)
	if err := o.Check(); err != nil {
		return err
	}
	if *floor != "" {
		if _, err := os.Stat(*floor); err != nil {
			return fmt.Errorf("%w: -floor: %w", anchor.ErrOptions, err)
		}
	}
	dir, err := os.MkdirTemp("", "compare-anchor-")
	if err != nil {
		return fmt.Errorf("anchor: make a folder for the programs: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.Floor, err = anchor.BuildFloor(ctx, dir, *floor); err != nil {
		return err
	}
	server, remove, err := node.Program(ctx, o.Server, false)
	if err != nil {
		return err
	}
	defer remove()
	o.Server = server
	for i := range o.Peers {
		if o.Peers[i].Program == "" {
			if o.Peers[i].Program, err = anchor.BuildPeer(ctx, dir, o.Peers[i].Name); err != nil {
				return err
			}
		}
	}
	return anchor.Run(ctx, o, os.Stdout)
}

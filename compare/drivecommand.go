package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"strings"

	"github.com/tandem-ws/tandem/compare/drive"
	"github.com/tandem-ws/tandem/internal/command"
)

func runDrive(ctx context.Context, args []string) error {
	o := drive.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Stderr: os.Stderr}
	flags := flag.NewFlagSet("drive", flag.ContinueOnError)
	flags.Func("target", "`NAME=HOST:PORT` of a running server; can be repeated", func(spec string) error {
		name, address, _ := strings.Cut(spec, "=")
		o.Targets = append(o.Targets, drive.Target{Name: name, Address: address})
		return nil
	})
	flags.StringVar(&o.Redis, "redis", "redis://127.0.0.1:6379", "`URL` of the servers' Redis")
	flags.StringVar(&o.Channel, "channel", "drive-%d", "channel; %d stands for the numbers of several")
	flags.IntVar(&o.Channels, "channels", 1, "number of channels that the connections are spread over")
	flags.IntVar(&o.Connections, "connections", 1000, "number of connections to each server")
	flags.Float64Var(&o.ConnectRate, "connect-rate", 500, "connections opened a second to each server")
	flags.Float64Var(&o.Rate, "rate", 10, "messages published a second")
	flags.IntVar(&o.Size, "size", 128, "bytes of a message")
	flags.StringVar(&o.Metrics, "metrics", "127.0.0.1:9100", "`address` that serves /metrics")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	return drive.Run(ctx, o)
}

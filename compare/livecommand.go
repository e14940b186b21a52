package main

import (
	"context"
	"flag"
	"os"

	"github.com/tandem-ws/tandem/compare/live"
	"github.com/tandem-ws/tandem/internal/command"
)

func runLive(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("live", flag.ContinueOnError)
	o := live.Options{Settings: live.Defaults(), Out: os.Stdout, Stderr: os.Stderr}
	flags.StringVar(&o.Addr, "addr", live.DefaultAddr, "`address` of the page, on loopback; port 0 means a free one")
	flags.StringVar(&o.Server, "server", "", "server `program` (default: built from source)")
	noOpen := flags.Bool("no-open", false, "do not open the page in a browser")
	flags.IntVar(&o.Settings.Connections, "connections", o.Settings.Connections, "number of connections of each mode")
	flags.IntVar(&o.Settings.Rate, "rate", o.Settings.Rate, "messages published a second")
	flags.IntVar(&o.Settings.Size, "size", o.Settings.Size, "bytes of a message")
	flags.IntVar(&o.Settings.Channels, "channels", o.Settings.Channels, "number of channels that the connections are spread over")
	if err := command.Parse(flags, args); err != nil {
		return err
	}
	o.Open = !*noOpen
	return live.Run(ctx, o)
}

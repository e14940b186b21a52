package server

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/tandem-ws/tandem/server/config"
	"github.com/tandem-ws/tandem/server/node"
)

// serve runs the server until a signal ends it.
func serve(i *invocation) int {
	if code, done := i.parse(flag.NewFlagSet("serve", flag.ContinueOnError), 0, 0); done {
		return code
	}
	c, err := i.config()
	if err != nil {
		return outcome(i.stderr, err)
	}
	log := newLog(c, i.stderr)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	stop := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- node.Run(context.Background(), c, log, i.stderr, stop) }()
	for asked := false; ; asked = true {
		select {
		case err := <-ended:
			return outcome(i.stderr, err)
		case s := <-signals:
			if asked {
				log.Warn("second signal: stopping at once", "signal", s.String())
				return exitInterrupted
			}
			log.Info("draining: a second signal stops at once", "signal", s.String(), "over", c.DrainTime)
			close(stop)
		}
	}
}

func newLog(c config.Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

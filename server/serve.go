package server

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-ws/tandem/server/config"
	"github.com/tandem-ws/tandem/server/logwriter"
	"github.com/tandem-ws/tandem/server/node"
)

const (
	// flushTime is how long the program waits at its end for standard error to take
	// the last lines.
	flushTime = time.Second
	// stopTime is how long everything but the drain may take after a signal to stop.
	stopTime = 30 * time.Second
)

// serve runs the server until a signal ends it.
func serve(i *invocation) int {
	if code, done := i.parse(flag.NewFlagSet("serve", flag.ContinueOnError), 0, 0); done {
		return code
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	defer ignoreSignals()()

	// Standard error may be full, closed or a broken pipe: nothing but its own
	// goroutine waits for it.
	var logger *slog.Logger
	made := make(chan struct{})
	stderr := logwriter.New(i.stderr, func(lines uint64) {
		select {
		case <-made:
			logger.Warn("log lines were dropped: standard error did not take them", "lines", lines)
		default:
		}
	})
	defer stderr.Close(flushTime)
	log.SetOutput(stderr) // for what third parties log
	defer log.SetOutput(i.stderr)

	c, err := i.config()
	if err != nil {
		return outcome(stderr, err)
	}
	if c.MemoryLimit > 0 {
		debug.SetMemoryLimit(int64(c.MemoryLimit))
	}
	logger = newLog(c, stderr)
	close(made)
	return i.supervise(c, logger, stderr, signals)
}

// supervise runs a node and handles the signals.
func (i *invocation) supervise(c config.Config, log *slog.Logger, stderr *logwriter.Writer, signals <-chan os.Signal) int {
	stop := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- node.Run(context.Background(), node.Options{
			Config: c, Log: log, Stderr: stderr, Stop: stop, Collectors: []prometheus.Collector{droppedLines(stderr)},
		})
	}()
	var late <-chan time.Time
	for {
		select {
		case err := <-ended:
			return outcome(stderr, err)
		case <-late:
			return outcome(stderr, fmt.Errorf("tandem: not stopped %v after the signal: giving up", c.DrainTime+stopTime))
		case s := <-signals:
			if late != nil {
				log.Warn("second signal: stopping at once", "signal", s.String())
				return exitInterrupted
			}
			log.Info("draining: a second signal stops at once", "signal", s.String(), "over", c.DrainTime)
			close(stop)
			late = time.After(c.DrainTime + stopTime)
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

// droppedLines is the metric of what could not be logged.
func droppedLines(w *logwriter.Writer) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "tandem_log_dropped_total",
		Help: "Lines that were not logged because standard error did not take them.",
	}, func() float64 { return float64(w.Dropped()) })
}

// Command server runs Tandem: it holds the WebSocket connections of clients and
// fans out to them what back ends publish to Redis. MODE chooses the engine;
// -help lists everything that can be set.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	os.Exit(program(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// program is main with everything it touches as arguments. It returns the exit
// code.
func program(args, environ []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	showVersion := flags.Bool("version", false, "")
	askHealth := flags.Bool("health", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return outcome(stderr, printHelp(stdout))
	case err != nil:
		return refuse(stderr, fmt.Sprintf("server: %v: run with -help for what there is", err))
	case flags.NArg() > 0:
		return refuse(stderr, fmt.Sprintf("server: unknown argument %q: run with -help for what there is", flags.Arg(0)))
	case *showVersion:
		_, err := fmt.Fprintf(stdout, "tandem %s %s %s\n", version, revision(), runtime.Version())
		return outcome(stderr, err)
	}
	c, err := loadConfig(environ, runtime.GOOS)
	if err != nil {
		return outcome(stderr, err)
	}
	if *askHealth {
		return outcome(stderr, health(c.InternalAddr))
	}
	return serve(c, stderr)
}

// serve runs the server until a signal ends it.
func serve(c config, stderr io.Writer) int {
	log := newLog(c, stderr)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	stop := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- run(context.Background(), c, stderr, stop) }()
	for asked := false; ; asked = true {
		select {
		case err := <-ended:
			return outcome(stderr, err)
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

func newLog(c config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// refuse reports what is wrong with how the program was called.
func refuse(stderr io.Writer, line string) int {
	_, _ = fmt.Fprintln(stderr, line)
	return exitUsage
}

func outcome(stderr io.Writer, err error) int {
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		if errors.Is(err, errConfig) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

// health asks the server on the internal address whether it lives.
func health(internalAddr string) error {
	host, port, err := net.SplitHostPort(internalAddr)
	if err != nil {
		return fmt.Errorf("server: health: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	client := &http.Client{Timeout: 3 * time.Second}
	response, err := client.Get("http://" + net.JoinHostPort(host, port) + "/healthz")
	if err != nil {
		return fmt.Errorf("server: health: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("server: health: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("server: health: %s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

package server

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/tandem-ws/tandem/redisbus"
	"github.com/tandem-ws/tandem/server/certificate"
	"github.com/tandem-ws/tandem/server/config"
	"github.com/tandem-ws/tandem/server/node"
)

// check reports what a server with this environment would do, and whether it could:
// it reads the configuration and sends a message through Redis and back.
func check(i *invocation) int {
	if code, done := i.parse(flag.NewFlagSet("check", flag.ContinueOnError), 0, 0); done {
		return code
	}
	c, err := i.config()
	if err == nil {
		err = checkConfig(c, i.stdout)
	}
	return outcome(i.stderr, err)
}

// checkConfig writes a line for each check that succeeds, up to the first that
// fails.
func checkConfig(c config.Config, w io.Writer) error {
	lines := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		_, _ = fmt.Fprintf(lines, what+"\t"+format+"\n", args...)
	}
	err := checkEach(c, line)
	if flushErr := lines.Flush(); err == nil {
		err = flushErr
	}
	return err
}

func checkEach(c config.Config, line func(what, format string, args ...any)) error {
	line("configuration", "good")
	for _, warning := range c.Warnings() {
		line("warning", "%s", warning)
	}
	line("mode", "%s", c.Mode)
	tokens, err := c.TokenVerifier()
	switch {
	case err != nil:
		return err
	case tokens != nil:
		line("tokens", "clients need one to connect")
	}
	if c.TLSCertFile != "" {
		pair, err := certificate.Load(c.TLSCertFile, c.TLSKeyFile, slog.New(slog.DiscardHandler))
		if err != nil {
			return fmt.Errorf("%w: %w", config.ErrInvalid, err)
		}
		line("certificate", "expires %s", pair.Leaf().NotAfter.Format(time.RFC3339))
	}
	files, err := node.PlanDescriptors(&c)
	if err != nil {
		return err
	}
	line("open files", "%d: room for %d connections", files.Limit, files.Connections)
	if c.MaxConnections > files.Connections {
		return fmt.Errorf("tandem: check: MAX_CONNECTIONS=%d: more than the limit of open files allows: raise it (ulimit -n)", c.MaxConnections)
	}
	if c.RedisURL == "" {
		line("redis", "embedded: it starts with the server, and is for trying out only")
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.SubscribeTimeout)
	defer cancel()
	report, err := redisbus.Probe(ctx, c.BusOptions(c.RedisURL))
	if err != nil {
		return fmt.Errorf("tandem: check: %w", err)
	}
	line("redis", "%s at %s answers in %v", report.Version, report.Addr, report.RoundTrip.Round(time.Microsecond))
	if report.Sentinels > 0 {
		line("sentinel", "%d sentinels are known; the master is at %s", report.Sentinels, report.Addr)
	}
	if report.Master {
		line("role", "master")
	} else {
		line("role", "not told: allow the user ROLE (ACL SETUSER … +role), so that a server that becomes a replica is noticed at once")
	}
	line("pub/sub", "a message came back after %v", report.Delivery.Round(time.Microsecond))
	return nil
}

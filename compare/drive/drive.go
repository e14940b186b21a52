// Package drive keeps running servers under load: it opens connections to each,
// publishes through the Redis that they share, and exports what the clients measure to
// Prometheus. It is the load of the profile compare of docker compose.
package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/workload"
)

// ErrOptions means that the options cannot be used.
var ErrOptions = errors.New("drive: bad options")

// Target is a server to load: its label in the metrics, and host:port of its public
// listener.
type Target struct{ Name, Address string }

// Options configure the load.
type Options struct {
	Targets []Target
	// Redis is the redis:// URL of the servers' Redis. Channel is the channel to
	// publish to; with %d there are Channels of them.
	Redis, Channel string
	Channels       int
	// Connections to each target, opened ConnectRate a second.
	Connections int
	ConnectRate float64
	// Rate is messages a second, 0 none, Size their bytes.
	Rate float64
	Size int
	// Metrics is the address to serve /metrics on.
	Metrics string
	Log     *slog.Logger
	Stderr  io.Writer // of the load processes
}

func (o *Options) check() error {
	switch {
	case len(o.Targets) == 0:
		return fmt.Errorf("%w: no target: give -target NAME=HOST:PORT", ErrOptions)
	case o.Connections < 1 || !(o.ConnectRate > 0 && o.ConnectRate <= maxRate):
		return fmt.Errorf("%w: %d connections, %g a second: both must be positive numbers", ErrOptions, o.Connections, o.ConnectRate)
	case !(o.Rate >= 0 && o.Rate <= maxRate) || o.Size < workload.MinSize:
		return fmt.Errorf("%w: %g messages a second of %d bytes: a message has at least %d", ErrOptions, o.Rate, o.Size, workload.MinSize)
	case o.Channels < 1:
		return fmt.Errorf("%w: %d channels", ErrOptions, o.Channels)
	}
	if _, _, err := net.SplitHostPort(o.Metrics); err != nil {
		return fmt.Errorf("%w: -metrics %q: write HOST:PORT", ErrOptions, o.Metrics)
	}
	seen := map[string]bool{}
	for _, t := range o.Targets {
		if _, _, err := net.SplitHostPort(t.Address); err != nil || t.Name == "" || seen[t.Name] {
			return fmt.Errorf("%w: target %q at %q: needs NAME=HOST:PORT, each name once", ErrOptions, t.Name, t.Address)
		}
		seen[t.Name] = true
	}
	return nil
}

const (
	maxRate = 1e6 // a second
	// turn is how often connections are checked and figures updated.
	turn = time.Second
	// retry is the delay before Redis or a target's name is tried again.
	retry = time.Second
)

// Run loads the targets until ctx ends, whatever happens to them or to Redis, and then
// returns nil. An error means that it could not start, or that a load process died.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.Metrics)
	if err != nil {
		return fmt.Errorf("drive: serve metrics: %w", err)
	}
	figures := newFigures(o.Targets)
	server := &http.Server{Handler: figures.handler(), ReadHeaderTimeout: 5 * time.Second}
	o.Log.Info("driving", "targets", len(o.Targets), "connections", o.Connections, "rate", o.Rate, "metrics", listener.Addr().String())
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("drive: serve metrics: %w", err)
		}
		return nil
	})
	work.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	for _, t := range o.Targets {
		work.Go(func() error { return o.connect(ctx, t, figures) })
	}
	work.Go(func() error { return o.publish(ctx, figures) })
	return work.Wait()
}

// connect keeps the connections to one target, and its figures.
func (o *Options) connect(ctx context.Context, t Target, f *figures) error {
	process, err := load.Start(o.Stderr)
	if err != nil {
		return err
	}
	defer func() { _ = process.Stop() }() // what it says of its end interests nobody any more
	tick := time.NewTicker(turn)
	defer tick.Stop()
	for made := 0; ; {
		answer, err := process.Do(ctx, load.Command{Cmd: load.Report})
		if err == nil {
			err = f.take(t.Name, answer)
		}
		missing := o.Connections - answer.Connected - answer.Connecting
		if err == nil && missing > 0 {
			// No more than a turn's worth, so that figures go on meanwhile.
			n := min(missing, max(1, int(o.ConnectRate*turn.Seconds())))
			var address string
			if address, err = resolve(ctx, t.Address); err != nil {
				o.Log.Warn("target not found, trying again", "target", t.Name, "error", err)
				err = nil
			} else {
				_, err = process.Do(ctx, load.Command{
					Cmd: load.Connect, N: n, Rate: o.ConnectRate, Target: address,
					Channel: o.Channel, Channels: o.Channels, First: made % o.Channels,
				})
				made += n
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("drive: load of %s: %w", t.Name, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// resolve returns the address with the host's name looked up again: a replaced
// container has another address.
func resolve(ctx context.Context, address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return "", err
	}
	var first netip.Addr
	for _, a := range found {
		if first = a.Unmap(); first.Is4() {
			break
		}
	}
	return net.JoinHostPort(first.String(), port), nil
}

// publish keeps publishing, even if Redis goes away and comes back.
func (o *Options) publish(ctx context.Context, f *figures) error {
	if o.Rate == 0 {
		return nil
	}
	var after []uint32
	for ctx.Err() == nil {
		p, err := workload.NewPublisher(ctx, workload.Options{URL: o.Redis, Channel: o.Channel, Channels: o.Channels, After: after})
		if errors.Is(err, workload.ErrPlan) {
			return fmt.Errorf("drive: %w", err)
		}
		if err == nil {
			f.redis.Set(1)
			_, err = p.Publish(ctx, workload.Plan{Rate: o.Rate, Size: o.Size})
			after = p.Sent()
			_ = p.Close() // it has failed, or nobody waits for its answers
		}
		if ctx.Err() != nil {
			return nil
		}
		f.redis.Set(0)
		o.Log.Warn("redis is away, trying again", "error", err)
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
	}
	return nil
}

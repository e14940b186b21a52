// Package drive keeps servers that run already under load: connections to each,
// messages through the Redis they share, and metrics of what the clients see for
// Prometheus. It is the load of docker compose's profile compare, where the servers
// are not this program's to start.
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
	"github.com/tandem-ws/tandem/compare/payload"
	"github.com/tandem-ws/tandem/compare/publish"
)

// ErrOptions says that Options are not valid; nothing was started.
var ErrOptions = errors.New("drive: bad options")

// Target is a server to drive: what its metrics are labelled with, and host:port
// of its public listener.
type Target struct{ Name, Address string }

// Options say what to drive, and how hard.
type Options struct {
	Targets []Target
	// Redis is the redis:// URL that the servers have, Channel what is published
	// to: a %d in it makes Channels of it.
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
	case !(o.Rate >= 0 && o.Rate <= maxRate) || o.Size < payload.MinSize:
		return fmt.Errorf("%w: %g messages a second of %d bytes: a message has at least %d", ErrOptions, o.Rate, o.Size, payload.MinSize)
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
	// turn is how often connections are looked after and figures taken.
	turn = time.Second
	// retry is the pause before Redis or a target's name is tried again.
	retry = time.Second
)

// Run drives the targets until ctx ends, whatever becomes of them and of Redis
// meanwhile; then it returns nil. An error says that it could not begin, or that
// a load process died.
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

// resolve returns the address with the host's name looked up anew: a container
// that was replaced has another one.
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

// publish keeps publishing, through every loss of Redis.
func (o *Options) publish(ctx context.Context, f *figures) error {
	if o.Rate == 0 {
		return nil
	}
	var after []uint32
	for ctx.Err() == nil {
		p, err := publish.New(ctx, publish.Options{URL: o.Redis, Channel: o.Channel, Channels: o.Channels, After: after})
		if errors.Is(err, publish.ErrPlan) {
			return fmt.Errorf("drive: %w", err)
		}
		if err == nil {
			f.redis.Set(1)
			_, err = p.Publish(ctx, publish.Plan{Rate: o.Rate, Size: o.Size})
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

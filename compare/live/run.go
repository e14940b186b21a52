package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/workload"
)

// ErrAddress means that the page cannot be served on the address asked for.
var ErrAddress = errors.New("live: page address")

// DefaultAddr is the default address of the page.
const DefaultAddr = "127.0.0.1:8090"

// Options configure a live comparison.
type Options struct {
	// Addr is the page's address, host:port on loopback; port 0 means a free one.
	Addr string
	// Server is a server program; if it is empty, one is built from source.
	Server string
	// Settings are the initial settings.
	Settings Settings
	// Open opens the page in a browser.
	Open bool
	// Out receives a line for each step, and Stderr the errors of load processes and
	// of the page's HTTP server.
	Out, Stderr io.Writer
	// Ready, if set, is called with the page's URL once it is served.
	Ready func(url string)
}

// Run starts everything, serves the page until ctx ends, and stops everything. It
// returns nil if ctx has ended it, and otherwise an error that says in one line what
// died or could not be started.
func Run(ctx context.Context, o Options) (err error) {
	cpus, err := allowedCPUs()
	if err != nil {
		return err
	}
	descriptors, err := descriptorLimit()
	if err != nil {
		return err
	}
	c := newControls(bounds(descriptors, len(cpus)), o.Settings)
	if err := c.bounds.Check(o.Settings); err != nil {
		return err
	}
	listener, err := listen(o.Addr)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // the HTTP server has closed it, if it came to that

	s := &stage{options: o, controls: c, client: &http.Client{Transport: &http.Transport{}}}
	defer func() {
		stopped := s.stop()
		if err == nil {
			err = stopped
		}
	}()
	if err := s.start(ctx, place(cpus)); err != nil {
		if ctx.Err() != nil {
			return nil // what failed did so because all is being ended
		}
		return err
	}
	s.feed = newFeed(About{
		Variants: modes[:], Bounds: c.bounds, CPUs: len(cpus), Placing: place(cpus).describe(len(cpus)),
		Redis: s.redis.describe(), Started: time.Now().UnixMilli(),
	})
	return s.show(ctx, listener)
}

// listen opens the page's address.
func listen(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %q is not host:port, such as %s", ErrAddress, addr, DefaultAddr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%w: %s is not on loopback: the page changes the load without a password, "+
			"so it is limited to this machine: use 127.0.0.1, and ssh -L from elsewhere", ErrAddress, addr)
	}
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: %s is taken: end what listens there, or choose another with -addr", ErrAddress, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	return listener, nil
}

// stage is everything that is running.
type stage struct {
	options   Options
	controls  *controls
	client    *http.Client
	remove    func() // the server that was built
	redis     *redis
	variants  []*variant
	publisher *workload.Publisher
	feed      *feed
}

func (s *stage) say(format string, a ...any) {
	_, _ = fmt.Fprintf(s.options.Out, format+"\n", a...) // a terminal that is gone cannot be told
}

// start starts Redis, both variants and the publisher.
func (s *stage) start(ctx context.Context, on placement) (err error) {
	if s.options.Server == "" {
		s.say("building the server")
	}
	program, remove, err := node.Program(ctx, s.options.Server, false)
	if err != nil {
		return err
	}
	s.remove = remove
	if s.redis, err = startRedis(on.redis); err != nil {
		return err
	}
	s.say("started %s (process %d)", s.redis.describe(), s.redis.PID())
	for i := range variants {
		a, err := startVariant(ctx, i, program, s.redis.Addr(), on, s.options.Stderr)
		if err != nil {
			return err
		}
		s.variants = append(s.variants, a)
		s.say("started the %s server (process %d) and its load (process %d)", a.mode, a.server.PID(), a.load.PID())
	}
	s.publisher, err = workload.NewPublisher(ctx, workload.Options{URL: s.redis.URL(), Channel: channel, Channels: maxChannels})
	return err
}

// stop ends everything that was started and waits for it.
func (s *stage) stop() error {
	var failed []error
	if s.publisher != nil {
		_ = s.publisher.Close() // what it published has arrived, or nobody looks any more
	}
	var stopping sync.WaitGroup
	var mu sync.Mutex // guards failed
	for _, a := range s.variants {
		stopping.Go(func() {
			err := a.stop()
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
		})
	}
	stopping.Wait()
	if s.redis != nil {
		failed = append(failed, s.redis.Stop(stopGrace))
	}
	s.client.CloseIdleConnections()
	if s.remove != nil {
		s.remove()
	}
	return errors.Join(failed...)
}

// variantDied is the death of a process of one variant.
type variantDied struct {
	variant int
	error
}

func (d variantDied) Unwrap() error { return d.error }

// show runs the load and the page until ctx ends or something dies.
func (s *stage) show(ctx context.Context, listener net.Listener) error {
	p := &page{feed: s.feed, controls: s.controls}
	handler, err := p.handler()
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(slog.NewTextHandler(s.options.Stderr, nil), slog.LevelWarn),
	}
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var tasks sync.WaitGroup
	// task runs until ctx ends; its error ends everything
	task := func(run func() error) {
		tasks.Go(func() {
			if err := run(); err != nil {
				fail(err)
			}
		})
	}
	task(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("live: serve the page: %w", err)
		}
		return nil
	})
	s.watch(running, task)
	task(func() error { return s.publishing(running) })
	for i, a := range s.variants {
		task(func() error {
			if err := a.steer(running, s.controls); err != nil {
				return variantDied{i, err}
			}
			return nil
		})
	}
	task(func() error { return s.sampling(running) })
	s.announce(listener)

	<-running.Done()
	var cause error
	if ctx.Err() == nil {
		cause = context.Cause(running)
	}
	s.feed.finish(ending(cause))
	closing, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if server.Shutdown(closing) != nil {
		_ = server.Close() // a page that does not go is cut off
	}
	tasks.Wait()
	return cause
}

// ending returns what the page is told in the end.
func ending(cause error) Ended {
	var died variantDied
	switch {
	case cause == nil:
		return Ended{Variant: -1, Reason: "compare live was stopped."}
	case errors.As(cause, &died):
		return Ended{Variant: died.variant, Reason: died.Error()}
	}
	return Ended{Variant: -1, Reason: cause.Error()}
}

func (s *stage) announce(listener net.Listener) {
	url := "http://" + listener.Addr().String() + "/"
	s.say("\n    the live comparison is at   %s\n\nCtrl-C ends it.", url)
	if s.options.Open {
		if err := openBrowser(url); err != nil {
			s.say("no browser was opened: %v: open the page yourself", err)
		}
	}
	if s.options.Ready != nil {
		s.options.Ready(url)
	}
}

// watch ends everything if a process ends unexpectedly.
func (s *stage) watch(ctx context.Context, task func(func() error)) {
	await := func(done <-chan struct{}, died func() error) {
		task(func() error {
			select {
			case <-done:
				return died()
			case <-ctx.Done():
				return nil
			}
		})
	}
	await(s.redis.Done(), s.redis.Died)
	for i, a := range s.variants {
		await(a.server.Done(), func() error { return variantDied{i, a.server.Died()} })
		await(a.load.Done(), func() error { return variantDied{i, a.load.Died()} })
	}
}

// publishing publishes. If Redis has died, that is its error.
func (s *stage) publishing(ctx context.Context) error {
	// closing it unblocks a publisher that waits for Redis
	stop := context.AfterFunc(ctx, func() { _ = s.publisher.Close() })
	defer stop()
	err := publishAll(ctx, s.publisher, s.controls)
	if err == nil || ctx.Err() != nil {
		return err
	}
	select {
	case <-s.redis.Done():
		return s.redis.Died()
	case <-ctx.Done():
		return nil
	case <-time.After(stopGrace):
		return err
	}
}

// sampling takes a sample every second and sends it.
func (s *stage) sampling(ctx context.Context) error {
	samplers := make([]*sampler, len(s.variants))
	for i, a := range s.variants {
		samplers[i] = &sampler{variant: a, client: s.client}
	}
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			settings, _ := s.controls.get()
			sample := Sample{Time: now.UnixMilli(), Settings: settings, Variants: make([]Figures, len(samplers))}
			var taking sync.WaitGroup
			for i := range samplers {
				taking.Go(func() { sample.Variants[i] = samplers[i].take(ctx) })
			}
			taking.Wait()
			if ctx.Err() != nil {
				return nil
			}
			if err := s.feed.put(sample); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

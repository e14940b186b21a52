// Package failover shows what happens to the clients of a node when it ends:
// gracefully (SIGTERM), and in a crash (SIGKILL), after which all of them connect to
// another node at once.
//
// The clients (package client) wait before they reconnect, as the SDKs do, at first
// between half a second and one second. A stand-in for a load balancer sends them to
// the other node once the first is no longer ready.
package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/redisserver"
	"github.com/tandem-ws/tandem/compare/workload"
	"github.com/tandem-ws/tandem/reliability/client"
)

// ErrFailed means that the run failed; the report says why.
var ErrFailed = errors.New("failover: failed")

// Bounds limit what a failover may cost.
type Bounds struct {
	// Handshake is the 99th percentile from the attempt to connect to the response
	// 101.
	Handshake time.Duration
	// Away is the longest time that any client may be without its subscription, its
	// delay included.
	Away time.Duration
}

// ErrOptions means that the options cannot be used.
var ErrOptions = errors.New("failover: bad options")

// Options configure the run.
type Options struct {
	Modes    []string
	Clients  int
	Channels int
	Rate     float64 // messages published a second
	// DrainTime is the time over which the first node spreads its close frames.
	// ConnectRate is how many handshakes a second the nodes accept; 0 means any
	// number.
	DrainTime   time.Duration
	ConnectRate int
	// Bounds are not checked if they are nil.
	Bounds *Bounds
	// Server is the program; if it is empty, it is built from source.
	Server string
	// Out receives the report, and Stderr the output of the servers.
	Out, Stderr io.Writer
}

// Defaults returns the options of `make failover`.
func Defaults() Options {
	return Options{
		Modes: node.Modes(), Clients: 15000, Channels: 1000, Rate: 50, DrainTime: 10 * time.Second,
		Bounds: &Bounds{Handshake: 5 * time.Second, Away: 20 * time.Second},
	}
}

func (o *Options) check() error {
	if err := node.CheckModes(o.Modes); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	switch {
	case o.Clients < 1 || o.Channels < 1:
		return fmt.Errorf("%w: -connections %d: choose at least 1", ErrOptions, o.Clients)
	case o.DrainTime < 0:
		return fmt.Errorf("%w: -drain-time %v: choose a positive duration", ErrOptions, o.DrainTime)
	case o.ConnectRate < 0:
		return fmt.Errorf("%w: -connect-rate %d: choose 0 or more", ErrOptions, o.ConnectRate)
	}
	return nil
}

// Run ends nodes under load, writes a report, and returns ErrFailed if anything was
// wrong.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	program, remove, err := node.Program(ctx, o.Server, false)
	if err != nil {
		return err
	}
	defer remove()
	o.Server = program
	failed := false
	for _, mode := range o.Modes {
		r := &run{Options: o, mode: mode}
		if err := r.run(ctx); err != nil {
			r.failf("%v", err)
		}
		r.stop()
		r.report()
		failed = failed || len(r.failures) > 0
	}
	if failed {
		return ErrFailed
	}
	return ctx.Err()
}

const (
	channel     = "failover-%d"
	size        = 128
	limit       = 3 * time.Minute // for all clients to reconnect
	stopGrace   = 30 * time.Second
	connectRate = 2000 // connections a second, at the start
)

// run is the failovers of one mode.
type run struct {
	Options
	mode string

	redis     *redisserver.Server
	nodes     []*node.Node // in order of use; the last is in use
	pool      *client.Pool
	publisher *workload.Persistent

	phases   []phase
	failures []string
}

// phase is what one end of a node caused.
type phase struct {
	name                     string
	handshake, handshakeMost time.Duration // 99th percentile, longest
	away50, away99, awayMost time.Duration
	back                     time.Duration // until the last client was back
	failed                   int64         // attempts that failed
	spread                   time.Duration // from the first close to the last
	fastest                  int64         // most closes in a second
	cpu                      time.Duration // of the node that they moved to
	before, after            client.Counters
	ended                    map[string]int64
}

func (r *run) failf(format string, a ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, a...))
}

func (r *run) start() error {
	env := []string{"DRAIN_TIME=" + r.DrainTime.String(), fmt.Sprintf("CONNECT_RATE=%d", r.ConnectRate), "LOG_LEVEL=error"}
	n, err := node.StartReady(context.Background(), node.Options{
		Program: r.Server, Mode: r.mode, Redis: r.redis.Addr(), Stderr: r.Stderr, Env: env,
	})
	if err == nil {
		r.nodes = append(r.nodes, n)
	}
	return err
}

func (r *run) run(ctx context.Context) (err error) {
	if r.redis, err = redisserver.Start(redisserver.Options{}); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	r.publisher = workload.NewPersistent(workload.Options{URL: r.redis.URL(), Channel: channel, Channels: r.Channels})
	r.pool = client.New(client.Options{
		Targets: []string{r.nodes[0].Options.Public}, Channel: channel, Channels: r.Channels, Each: 1,
		Published: r.publisher.Last, From: net.IPv4(127, 0, 5, 1), Sources: 16,
	})
	ctx, cancel := context.WithTimeout(ctx, 3*limit)
	defer cancel()
	rate := float64(connectRate)
	if r.ConnectRate > 0 {
		rate = min(rate, float64(r.ConnectRate)/2)
	}
	if err := r.pool.Start(ctx, r.Clients, rate); err != nil {
		return err
	}
	if err := r.pool.AwaitJoined(ctx); err != nil {
		return err
	}
	publishing, stop := context.WithCancel(ctx)
	published := make(chan error, 1)
	go func() {
		published <- r.publisher.Publish(publishing, workload.Plan{Rate: r.Rate, Size: size, Order: workload.Random})
	}()
	err = r.phase(ctx, "SIGTERM", syscall.SIGTERM)
	if err == nil {
		err = r.phase(ctx, "SIGKILL", syscall.SIGKILL)
	}
	stop()
	if err = errors.Join(err, <-published); err != nil {
		return err
	}
	if err := r.publisher.Publish(ctx, workload.Plan{Count: r.Channels, Size: size}); err != nil {
		return err
	}
	if err := r.pool.Settle(ctx); err != nil {
		return err
	}
	if counters := r.pool.Counters(); !counters.Clean() {
		r.failf("%s", strings.Join(counters.Faults, "; "))
	}
	return nil
}

func (r *run) stop() {
	if r.pool != nil {
		r.pool.Close()
	}
	for _, n := range r.nodes {
		if err := n.Stop(stopGrace); err != nil {
			r.failf("a server ended badly: %v", err)
		}
	}
	if r.redis != nil {
		if err := r.redis.Stop(stopGrace); err != nil {
			r.failf("%v", err)
		}
	}
}

// phase ends the node that all clients are connected to, and waits until they are
// connected to another.
func (r *run) phase(ctx context.Context, name string, signal syscall.Signal) error {
	old := r.nodes[len(r.nodes)-1]
	if err := r.start(); err != nil {
		return err
	}
	next := r.nodes[len(r.nodes)-1]
	p := phase{name: name, before: r.pool.Counters()}
	r.pool.Handshake()
	r.pool.Return()
	began := time.Now()
	if err := old.Signal(signal); err != nil {
		return err
	}
	if signal == syscall.SIGTERM {
		if err := old.AwaitReady(ctx, false); err != nil {
			return err
		}
	}
	r.pool.Retarget(next.Options.Public)
	r.watch(ctx, &p)
	if err := r.pool.AwaitJoined(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p.back = time.Since(began)
	if signal == syscall.SIGTERM {
		// gracefully, with status 0
		if err := old.Wait(); err != nil {
			r.failf("%s: %v", name, err)
		}
	}
	p.after = r.pool.Counters()
	handshake, away := r.pool.Handshake(), r.pool.Return()
	p.handshake, p.handshakeMost = handshake.At(99), handshake.Max()
	p.away50, p.away99, p.awayMost = away.At(50), away.At(99), away.Max()
	cpu, err := next.CPU()
	if err != nil {
		return err
	}
	p.cpu = cpu
	r.judge(&p, signal)
	r.phases = append(r.phases, p)
	return nil
}

// ends returns how many connections servers have ended.
func ends(t client.Counters) (sum int64) {
	for _, n := range t.Ended {
		sum += n
	}
	return sum
}

// watch measures how fast the connections end.
func (r *run) watch(ctx context.Context, p *phase) {
	const step = 100 * time.Millisecond
	type point struct {
		at    time.Time
		count int64
	}
	var points []point
	var first, last time.Time
	for ctx.Err() == nil {
		now := point{time.Now(), ends(r.pool.Counters()) - ends(p.before)}
		points = append(points, now)
		for _, earlier := range points {
			if now.at.Sub(earlier.at) <= time.Second {
				p.fastest = max(p.fastest, now.count-earlier.count)
			}
		}
		if now.count > 0 && first.IsZero() {
			first = now.at
		}
		if now.count >= int64(r.Clients) {
			last = now.at
			break
		}
		time.Sleep(step)
	}
	p.spread = last.Sub(first)
}

// judge checks a phase against the bounds.
func (r *run) judge(p *phase, signal syscall.Signal) {
	p.ended = map[string]int64{}
	for cause, n := range p.after.Ended {
		if n -= p.before.Ended[cause]; n > 0 {
			p.ended[cause] = n
		}
	}
	if want := int64(r.Clients); signal == syscall.SIGTERM && (len(p.ended) != 1 || p.ended["3001"] != want) {
		r.failf("%s: connections ended with %v, want 3001 for all %d", p.name, p.ended, want)
	}
	// On a slow machine it takes longer; if it is shorter, the closing was not spread.
	if signal == syscall.SIGTERM && p.spread < r.DrainTime*8/10 {
		r.failf("%s: the closing was spread over %v, and DRAIN_TIME is %v", p.name, p.spread, r.DrainTime)
	}
	for _, n := range p.after.Failed {
		p.failed += n
	}
	for _, n := range p.before.Failed {
		p.failed -= n
	}
	if r.ConnectRate == 0 && p.after.Failed["status 503"] > p.before.Failed["status 503"] {
		r.failf("%s: handshakes were refused: %v", p.name, p.after.Failed)
	}
	if r.Bounds == nil {
		return
	}
	if p.handshake > r.Bounds.Handshake {
		r.failf("%s: the 99th percentile of handshakes was %v, more than %v", p.name, p.handshake, r.Bounds.Handshake)
	}
	if p.awayMost > r.Bounds.Away {
		r.failf("%s: a client was away for %v, more than %v", p.name, p.awayMost, r.Bounds.Away)
	}
}

// report writes the run's figures as Markdown.
func (r *run) report() {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n%d connections, %d channels, %g messages a second, DRAIN_TIME %v, CONNECT_RATE %d.\n\n",
		r.mode, r.Clients, r.Channels, r.Rate, r.DrainTime, r.ConnectRate)
	ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	row := func(name string, cell func(p *phase) string) {
		b.WriteString("| " + name + " |")
		for i := range r.phases {
			b.WriteString(" " + cell(&r.phases[i]) + " |")
		}
		b.WriteString("\n")
	}
	row("end of the node", func(p *phase) string { return p.name })
	row("---", func(*phase) string { return "---" })
	row("connections closed with", func(p *phase) string { return strings.TrimPrefix(fmt.Sprint(p.ended), "map") })
	row("closing took, most in a second", func(p *phase) string { return fmt.Sprintf("%s, %d", ms(p.spread), p.fastest) })
	row("handshake p99, max", func(p *phase) string { return ms(p.handshake) + ", " + ms(p.handshakeMost) })
	row("away p50, p99, max", func(p *phase) string { return ms(p.away50) + ", " + ms(p.away99) + ", " + ms(p.awayMost) })
	row("all clients back after", func(p *phase) string { return ms(p.back) })
	row("failed attempts", func(p *phase) string { return fmt.Sprint(p.failed) })
	row("CPU of the new node", func(p *phase) string { return ms(p.cpu) })
	if r.pool != nil {
		t := r.pool.Counters()
		fmt.Fprintf(&b, "\n%d received, %d missed and announced, %d lost without an announcement, %d repeated or late.\n", t.Received, t.Announced, t.Lost, t.Repeated)
	}
	verdict := "passed"
	if len(r.failures) > 0 {
		verdict = "FAILED:\n- " + strings.Join(r.failures, "\n- ")
	}
	fmt.Fprintf(&b, "Verdict: %s\n", verdict)
	_, _ = io.WriteString(r.Out, b.String())
}

// Package storm shows what becomes of all clients of a node when it ends: in good
// order (SIGTERM), and in a crash (SIGKILL), when they all come to another node at
// once.
//
// The clients are witnesses (package witness): they wait before they come back as the
// SDKs do, from half a second to a whole one at first. What stands for the load
// balancer sends them to the other node once the first is no longer ready.
package storm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-ws/tandem/compare/fault"
	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/publish"
	"github.com/tandem-ws/tandem/compare/witness"
)

// ErrFailed says that clients suffered what they should not; the report says what.
var ErrFailed = errors.New("storm: failed")

// Bounds are what a storm may cost.
type Bounds struct {
	// Handshake is the 99th percentile from the attempt to connect to the 101.
	Handshake time.Duration
	// Away is the longest that anybody may be without the subscription, the SDKs'
	// pause included.
	Away time.Duration
}

// Options say how large the storm is.
type Options struct {
	Modes     []string
	Witnesses int
	Channels  int
	Rate      float64 // messages a second, meanwhile
	// DrainTime is over how long the first node spreads the closing, ConnectRate
	// the handshakes a second that the nodes take; 0: any.
	DrainTime   time.Duration
	ConnectRate int
	// Bounds that fail the run; nil: they are not judged.
	Bounds *Bounds
	// Server is the program; empty: built from the source.
	Server string
	// Out takes the report, Stderr what servers say.
	Out, Stderr io.Writer
}

// Defaults are what `make storm` runs.
func Defaults() Options {
	return Options{
		Modes: node.Modes(), Witnesses: 15000, Channels: 1000, Rate: 50, DrainTime: 10 * time.Second,
		Bounds: &Bounds{Handshake: 5 * time.Second, Away: 20 * time.Second},
	}
}

// Run makes the storms, writes a report, and returns ErrFailed if anything was
// wrong.
func Run(ctx context.Context, o Options) error {
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
	channel   = "storm-%d"
	size      = 128
	limit     = 3 * time.Minute // for everybody to be back
	stopGrace = 30 * time.Second
	startRate = 2000 // connections a second, to begin with
)

// run is the storms of one mode.
type run struct {
	Options
	mode string

	redis     *fault.Redis
	nodes     []*node.Node // in the order in which they are used; the last one is
	crew      *witness.Crew
	publisher *publish.Persistent

	phases   []phase
	failures []string
}

// phase is what one end of a node did.
type phase struct {
	name                     string
	handshake, handshakeMost time.Duration // 99th percentile, longest
	away50, away99, awayMost time.Duration
	back                     time.Duration // until the last one was back
	failed                   int64         // attempts that failed
	spread                   time.Duration // from the first close to the last
	fastest                  int64         // most closes in a second
	cpu                      time.Duration // of the node that they came to
	before, after            witness.Tally
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
	if r.redis, err = fault.StartRedis(); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	r.publisher = publish.NewPersistent(publish.Options{URL: r.redis.URL(), Channel: channel, Channels: r.Channels})
	r.crew = witness.New(witness.Options{
		Targets: []string{r.nodes[0].Options.Public}, Channel: channel, Channels: r.Channels, Each: 1,
		Published: r.publisher.Last, From: net.IPv4(127, 0, 5, 1), Sources: 16,
	})
	ctx, cancel := context.WithTimeout(ctx, 3*limit)
	defer cancel()
	rate := float64(startRate)
	if r.ConnectRate > 0 {
		rate = min(rate, float64(r.ConnectRate)/2)
	}
	if err := r.crew.Start(ctx, r.Witnesses, rate); err != nil {
		return err
	}
	if err := r.crew.AwaitJoined(ctx); err != nil {
		return err
	}
	publishing, stop := context.WithCancel(ctx)
	published := make(chan error, 1)
	go func() {
		published <- r.publisher.Publish(publishing, publish.Plan{Rate: r.Rate, Size: size, Order: publish.Random})
	}()
	err = r.phase(ctx, "SIGTERM", syscall.SIGTERM)
	if err == nil {
		err = r.phase(ctx, "SIGKILL", syscall.SIGKILL)
	}
	stop()
	if err = errors.Join(err, <-published); err != nil {
		return err
	}
	if err := r.publisher.Publish(ctx, publish.Plan{Count: r.Channels, Size: size}); err != nil {
		return err
	}
	if err := r.crew.Settle(ctx); err != nil {
		return err
	}
	if tally := r.crew.Tally(); !tally.Clean() {
		r.failf("%s", strings.Join(tally.Faults, "; "))
	}
	return nil
}

func (r *run) stop() {
	if r.crew != nil {
		r.crew.Close()
	}
	for _, n := range r.nodes {
		if err := n.Stop(stopGrace); err != nil {
			r.failf("a server ended badly: %v", err)
		}
	}
	if r.redis != nil {
		if err := r.redis.Stop(); err != nil {
			r.failf("%v", err)
		}
	}
}

// phase ends the node that everybody is on, and waits until everybody is on
// another.
func (r *run) phase(ctx context.Context, name string, signal syscall.Signal) error {
	old := r.nodes[len(r.nodes)-1]
	if err := r.start(); err != nil {
		return err
	}
	next := r.nodes[len(r.nodes)-1]
	p := phase{name: name, before: r.crew.Tally()}
	r.crew.Handshake()
	r.crew.Return()
	began := time.Now()
	if err := old.Signal(signal); err != nil {
		return err
	}
	if signal == syscall.SIGTERM {
		if err := old.AwaitReady(ctx, false); err != nil {
			return err
		}
	}
	r.crew.Retarget(next.Options.Public)
	r.watch(ctx, &p)
	if err := r.crew.AwaitJoined(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p.back = time.Since(began)
	if signal == syscall.SIGTERM {
		// in good order, with status 0
		if err := old.Wait(); err != nil {
			r.failf("%s: %v", name, err)
		}
	}
	p.after = r.crew.Tally()
	handshake, away := r.crew.Handshake(), r.crew.Return()
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

// ends is how many connections servers have ended.
func ends(t witness.Tally) (sum int64) {
	for _, n := range t.Ended {
		sum += n
	}
	return sum
}

// watch notes how fast the connections end, until all have.
func (r *run) watch(ctx context.Context, p *phase) {
	const step = 100 * time.Millisecond
	type point struct {
		at    time.Time
		count int64
	}
	var points []point
	var first, last time.Time
	for ctx.Err() == nil {
		now := point{time.Now(), ends(r.crew.Tally()) - ends(p.before)}
		points = append(points, now)
		for _, earlier := range points {
			if now.at.Sub(earlier.at) <= time.Second {
				p.fastest = max(p.fastest, now.count-earlier.count)
			}
		}
		if now.count > 0 && first.IsZero() {
			first = now.at
		}
		if now.count >= int64(r.Witnesses) {
			last = now.at
			break
		}
		time.Sleep(step)
	}
	p.spread = last.Sub(first)
}

// judge holds a phase against what must be.
func (r *run) judge(p *phase, signal syscall.Signal) {
	p.ended = map[string]int64{}
	for cause, n := range p.after.Ended {
		if n -= p.before.Ended[cause]; n > 0 {
			p.ended[cause] = n
		}
	}
	if want := int64(r.Witnesses); signal == syscall.SIGTERM && (len(p.ended) != 1 || p.ended["3001"] != want) {
		r.failf("%s: connections ended with %v, want 3001 for all %d", p.name, p.ended, want)
	}
	// Slow machines spread it over longer; shorter means that it was not spread.
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
		r.failf("%s: somebody was away for %v, more than %v", p.name, p.awayMost, r.Bounds.Away)
	}
}

// report writes the run's figures as Markdown.
func (r *run) report() {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n%d connections, %d channels, %g messages a second, DRAIN_TIME %v, CONNECT_RATE %d.\n\n",
		r.mode, r.Witnesses, r.Channels, r.Rate, r.DrainTime, r.ConnectRate)
	b.WriteString("| end of the node | connections ended with | spread over, most in a second | handshake p99, most | away p50 | p99 | most | last one back after | attempts that failed | CPU of the node they came to |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	for _, p := range r.phases {
		fmt.Fprintf(&b, "| %s | %v | %s, %d | %s, %s | %s | %s | %s | %s | %d | %s |\n", p.name,
			strings.TrimPrefix(fmt.Sprint(p.ended), "map"), ms(p.spread), p.fastest, ms(p.handshake), ms(p.handshakeMost),
			ms(p.away50), ms(p.away99), ms(p.awayMost), ms(p.back), p.failed, ms(p.cpu))
	}
	if r.crew != nil {
		t := r.crew.Tally()
		fmt.Fprintf(&b, "\n%d received, %d missed and announced, %d lost without a word, %d repeated or late.\n", t.Received, t.Announced, t.Lost, t.Repeated)
	}
	verdict := "passed"
	if len(r.failures) > 0 {
		verdict = "FAILED:\n- " + strings.Join(r.failures, "\n- ")
	}
	fmt.Fprintf(&b, "Verdict: %s\n", verdict)
	_, _ = io.WriteString(r.Out, b.String())
}

package run

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/redisserver"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/scenario"
	"github.com/tandem-ws/tandem/compare/testbed"
	"github.com/tandem-ws/tandem/compare/variant"
)

// measurement is the state that all runs share.
type measurement struct {
	o        Options
	began    time.Time
	plan     plan
	place    testbed.Placement
	manifest result.Manifest
	writer   *result.Writer
	remove   func() // the server that was built
}

// Run measures and returns the path of the results folder. If the error is ErrPartial,
// the folder holds what was measured before ctx ended or the failures that the text
// names; other errors come without a folder.
func Run(ctx context.Context, o Options) (folder string, err error) {
	if err := o.check(); err != nil {
		return "", err
	}
	s := &measurement{o: o, began: time.Now(), remove: func() {}}
	s.manifest.Started = time.Now().UTC().Truncate(time.Second)
	// first, so that nobody waits for a folder that cannot be written
	if s.writer, err = result.Create(s.out()); err != nil {
		return "", err
	}
	defer func() {
		if s.manifest.Done == 0 {
			if ctx.Err() != nil { // whatever that has broken
				err = fmt.Errorf("%w: interrupted: nothing was measured", ErrPartial)
			}
			err = errors.Join(err, s.writer.Discard())
			return
		}
		err = errors.Join(err, s.writer.Close())
	}()
	defer func() { s.remove() }()
	if err := s.prepare(ctx); err != nil {
		return "", err
	}
	if err := s.tryVariants(ctx); err != nil {
		return "", err
	}
	if err := s.writer.Manifest(&s.manifest); err != nil {
		return "", err
	}
	failed := s.measure(ctx)
	s.manifest.Ended = time.Now().UTC().Truncate(time.Second)
	if s.manifest.Done == 0 {
		return "", failed
	}
	return s.writer.Path(), errors.Join(failed, s.writer.Manifest(&s.manifest))
}

func (s *measurement) out() string {
	if s.o.Out != "" {
		return s.o.Out
	}
	return filepath.Join("results", s.manifest.Started.Format("2006-01-02T15-04-05"))
}

// prepare checks and records everything that is known before the first run.
func (s *measurement) prepare(ctx context.Context) error {
	available, err := cpus()
	if err != nil {
		return err
	}
	m := &s.manifest
	s.place, m.CPUs = testbed.Place(available)
	s.plan = makePlan(&s.o)
	if len(s.plan.steps) == 0 {
		return fmt.Errorf("%w: nothing is left to measure: %s: %s", ErrOptions, s.plan.skipped[0].Scenario, s.plan.skipped[0].Why)
	}
	if err := s.program(ctx); err != nil {
		return err
	}
	if err := s.checkSettings(ctx); err != nil {
		return err
	}
	version, err := redisserver.Version(ctx)
	m.Redis = result.Redis{Embedded: err != nil, Version: version}
	if err != nil {
		m.Redis.Version = "embedded (miniredis)"
		s.say("no redis-server or valkey-server found: using an embedded Redis, which is slower; install redis for better figures")
	}
	m.Profile, m.Repeats, m.Order = s.o.Profile, s.o.Repeats, order
	m.Planned, m.Skipped = len(s.plan.steps), s.plan.skipped
	m.Partial = "the measurement did not finish"
	m.Go = runtime.Version()
	m.Commit = commit(ctx)
	m.Host, m.Limits = host()
	for _, a := range s.o.Variants {
		entry := result.Variant{Name: a.Name, Env: a.Env}
		if a.External == nil {
			entry.Env = append(testbed.Base(), a.Env...)
		} else {
			entry.External = "ws://" + a.External.Addr + a.External.Path
		}
		m.Variants = append(m.Variants, entry)
	}
	for _, sc := range s.o.Scenarios {
		m.Scenarios = append(m.Scenarios, result.Scenario{
			Name: sc.Name, Title: sc.Title, Shows: sc.Shows, Env: sc.Env,
			Load: sc.Describe(sc.Size(s.o.Profile, s.o.Override)),
		})
	}
	m.Args = hideKeys(s.o.Args)
	m.Repeat = "go run ./compare run " + quote(m.Args)
	s.say("%s", m.CPUs.Says)
	s.say("%d runs (%d variants, %d scenarios, %d repeats), about %v", len(s.plan.steps), len(s.o.Variants), len(s.o.Scenarios), s.o.Repeats, s.plan.takes().Round(time.Second))
	if s.o.Budget > 0 && s.plan.takes() > s.o.Budget {
		s.say("limited to %v: of the second and later repeats, what does not fit is left out", s.o.Budget)
	}
	return nil
}

// hideKeys removes API keys from what is recorded.
func hideKeys(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		before, after, ok := strings.Cut(a, ",key=")
		if ok {
			_, rest, more := strings.Cut(after, ",")
			if a = before + ",key=SECRET"; more {
				a += "," + rest
			}
		}
		out[i] = a
	}
	return out
}

func quote(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if out[i] = a; strings.ContainsAny(a, " $&;'\"*?") {
			out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}

// program makes sure that there is a server program if a variant needs one.
func (s *measurement) program(ctx context.Context) (err error) {
	needed := false
	for _, a := range s.o.Variants {
		needed = needed || a.External == nil
	}
	if !needed {
		return nil
	}
	if s.o.Server == "" {
		s.say("building the server")
	}
	if s.o.Server, s.remove, err = node.Program(ctx, s.o.Server, false); err != nil {
		s.remove = func() {}
		return err
	}
	s.manifest.Server, err = versionOf(ctx, s.o.Server)
	return err
}

// checkSettings finds settings that the server does not know and would ignore.
func (s *measurement) checkSettings(ctx context.Context) error {
	var known []string
	for _, a := range s.o.Variants {
		for _, kv := range a.Env {
			key, _, _ := strings.Cut(kv, "=")
			if strings.HasPrefix(key, "GO") {
				continue // of the Go runtime
			}
			if known == nil {
				var err error
				if known, err = settingsOf(ctx, s.o.Server); err != nil {
					return err
				}
			}
			if !slices.Contains(known, key) {
				return fmt.Errorf("%w: variant %s: the server has no setting %s: go run . -help lists all", ErrOptions, a.Name, key)
			}
		}
	}
	return nil
}

func (s *measurement) say(format string, a ...any) {
	_, _ = fmt.Fprintf(s.o.Terminal, format+"\n", a...)
}

// tooMany is the number of consecutive failures that end the measurement.
const tooMany = 3

// measure makes the runs. The error says why some of them are missing.
func (s *measurement) measure(ctx context.Context) error {
	if len(s.place.Load) > 0 {
		// the publisher is in this process; building the server is over
		if err := process.Pin(s.place.Load...); err != nil {
			return fmt.Errorf("run: %w", err)
		}
	}
	debug.SetGCPercent(400) // a publisher that stops to collect is late
	g := newProgress(s.o.Terminal, s.o.Interactive, s.plan)
	defer g.close()
	m := &s.manifest
	var first error
	row := 0
	for i, st := range s.plan.steps {
		if ctx.Err() != nil {
			break
		}
		if s.o.Budget > 0 && st.repeat > 1 && s.plan.begins(i) && time.Since(s.began)+s.plan.round(i) > s.o.Budget {
			g.remark("%v have passed: the rest of repeat %d is left out", s.o.Budget, st.repeat)
			m.Planned, m.Repeats = i, s.plan.steps[i-1].repeat
			break
		}
		g.begin(st)
		samples, err := s.one(ctx, st)
		g.end(st)
		if ctx.Err() != nil {
			break // an interrupted run does not count
		}
		if err == nil {
			err = s.writer.Append(samples)
		}
		s.reportFlaws(g, st, samples)
		if err != nil {
			g.remark("%s: %v", st, err)
			m.Failed = append(m.Failed, result.Failed{Variant: st.variant.Name, Scenario: st.scenario.Name, Repeat: st.repeat, Why: err.Error()})
			if first == nil {
				first = err
			}
			if row++; row == tooMany {
				break
			}
			continue
		}
		row = 0
		m.Done++
		// however this program ends, the folder records how far it got
		if err := s.writer.Manifest(m); err != nil {
			first = err
			break
		}
	}
	return s.verdict(ctx, first, row)
}

// reportFlaws prints the flaws of a run at once.
func (s *measurement) reportFlaws(g *progress, st step, samples []result.Sample) {
	for i := range samples {
		for _, flaw := range samples[i].Flaws {
			g.remark("%s: not sound: %s", strings.TrimSpace(st.String()+" "+samples[i].Point), flaw)
		}
	}
}

// verdict reports whether all runs were made, and if not, why.
func (s *measurement) verdict(ctx context.Context, first error, row int) error {
	m := &s.manifest
	switch {
	case ctx.Err() != nil:
		m.Partial = fmt.Sprintf("interrupted: %d of %d runs were made", m.Done, m.Planned)
	case row == tooMany:
		m.Partial = fmt.Sprintf("stopped after %d consecutive failures: %d of %d runs were made", row, m.Done, m.Planned)
	case len(m.Failed) > 0:
		m.Partial = fmt.Sprintf("%d of %d runs failed", len(m.Failed), m.Planned)
	case first != nil:
		m.Partial = fmt.Sprintf("the results could not be written: %d of %d runs were made", m.Done, m.Planned)
	default:
		m.Partial = ""
		return nil
	}
	if first != nil {
		return fmt.Errorf("%w: %s: %w", ErrPartial, m.Partial, first)
	}
	return fmt.Errorf("%w: %s", ErrPartial, m.Partial)
}

// tryVariants starts each variant once and delivers a message, to find variants that
// cannot be measured before anything is measured.
func (s *measurement) tryVariants(ctx context.Context) error {
	for _, a := range s.o.Variants {
		if err := s.try(ctx, a); err != nil {
			if a.Custom {
				return fmt.Errorf("%w: -variant %s cannot be measured: %w", ErrOptions, a.Name, err)
			}
			return fmt.Errorf("variant %s: %w", a.Name, err)
		}
	}
	return nil
}

func (s *measurement) try(ctx context.Context, a variant.Variant) error {
	r, err := testbed.Start(ctx, testbed.Options{
		Variant: a, Server: s.o.Server, CPUs: s.place, Connections: 1,
		Embedded: s.manifest.Redis.Embedded, Self: s.o.Self, Stderr: s.o.Stderr,
	})
	if err != nil {
		return err
	}
	defer r.Close()
	return scenario.Try(r)
}

// one makes one run on a testbed of its own.
func (s *measurement) one(ctx context.Context, st step) (samples []result.Sample, err error) {
	r, err := testbed.Start(ctx, testbed.Options{
		Variant: st.variant, Server: s.o.Server, Env: st.scenario.Env, CPUs: s.place,
		Connections: st.scenario.Most(st.size), Embedded: s.manifest.Redis.Embedded,
		Self: s.o.Self, Stderr: s.o.Stderr,
	})
	if err != nil {
		return nil, err
	}
	samples, err = st.scenario.Run(r, st.size)
	r.Close()
	if err != nil {
		return nil, err
	}
	for i := range samples {
		samples[i].Variant, samples[i].Repeat = st.variant.Name, st.repeat
	}
	return samples, nil
}

package soak

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSoak runs a short soak of every mode, with every fault once and servers that are
// built with the race detector.
func TestSoak(t *testing.T) {
	o := Defaults()
	o.Server = filepath.Join(t.TempDir(), "server")
	if err := node.Build(t.Context(), o.Server, true); err != nil {
		t.Fatal(err)
	}
	o.For, o.Cycle, o.Notice = 0, time.Second, 600*time.Millisecond
	o.Clients, o.Channels, o.Rate, o.Churn, o.Burst = 60, 10, 100, 30, 200
	// On a busy machine a server with the race detector takes long for everything.
	o.TokenLife, o.Rest = 6*time.Second, 5*time.Minute
	var out, stderr bytes.Buffer
	o.Out, o.Stderr = &out, &stderr
	if err := Run(t.Context(), o); err != nil {
		t.Errorf("%v\n%s\n%s", err, &out, &stderr)
	}
	for _, mode := range o.Modes {
		for _, name := range []string{mode, mode + " over TLS"} {
			_, report, _ := strings.Cut(out.String(), "## "+name+"\n")
			report, _, _ = strings.Cut(report, "\n## ")
			for _, m := range faults {
				if !strings.Contains(report, "| of these: "+m.name+" | 1 |") {
					t.Errorf("%s: the report does not show that this happened: %s\n%s", name, m.name, &out)
				}
			}
		}
	}
}

// A soak whose server is not a server reports that and ends.
func TestSoakWithoutServer(t *testing.T) {
	o := Defaults()
	o.Server = "/bin/false"
	o.Modes = o.Modes[:1]
	var out bytes.Buffer
	o.Out, o.Stderr = &out, &out
	if err := Run(t.Context(), o); !errors.Is(err, ErrFailed) {
		t.Errorf("%v, want %v", err, ErrFailed)
	}
	if !strings.Contains(out.String(), "FAILED: start: ") {
		t.Errorf("the report does not say what failed:\n%s", &out)
	}
}

func TestGrown(t *testing.T) {
	series := func(f func(i int) float64) (samples []sample) {
		for i := range 40 {
			samples = append(samples, sample{goroutines: f(i)})
		}
		return samples
	}
	for _, c := range []struct {
		name  string
		of    func(i int) float64
		grown bool
	}{
		{"constant", func(int) float64 { return 100 }, false},
		{"grows while it warms up", func(i int) float64 { return 100 + 100*float64(min(i, 9)) }, false},
		{"one each cycle", func(i int) float64 { return 100 + float64(i) }, true},
		{"noise", func(i int) float64 { return 100 + 90*float64(i%2) }, false},
		{"noise over a leak", func(i int) float64 { return 100 + 8*float64(i%2) + 2*float64(i) }, true},
		{"falls", func(i int) float64 { return 1000 - float64(i) }, false},
	} {
		if early, late, grown := quantities[0].grown(series(c.of)); grown != c.grown {
			t.Errorf("%s: early %g, late %g: grown %t, want %t", c.name, early, late, grown, c.grown)
		}
	}
}

// A run that was too short to measure growth does not pass.
func TestJudgeNeedsSamples(t *testing.T) {
	r := run{Options: Options{Out: new(bytes.Buffer)}, samples: make([]sample, 2)}
	if r.judge(); len(r.failures) != 1 {
		t.Errorf("failures %q, want one", r.failures)
	}
}

// onWrite is a writer that calls itself for each write.
type onWrite func()

func (f onWrite) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// The end of the context ends a soak.
func TestSoakInterrupted(t *testing.T) {
	o := Defaults()
	o.Server = filepath.Join(t.TempDir(), "server")
	if err := node.Build(t.Context(), o.Server, false); err != nil {
		t.Fatal(err)
	}
	o.Modes, o.Clients, o.Cycle, o.Notice = o.Modes[:1], 20, time.Second, 600*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The first write belongs to the first cycle.
	o.Out, o.Stderr = onWrite(cancel), new(bytes.Buffer)
	if err := Run(ctx, o); !errors.Is(err, ErrFailed) {
		t.Errorf("%v, want %v: nothing was shown", err, ErrFailed)
	}
}

package abuse

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/reliability/attack"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "attack" { // attack.Start runs this program
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		err := attack.Serve(ctx, os.Args[3], os.Stdout)
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// TestAbuse is a short run of every mode, without bounds of time and memory: the
// healthy clients lose nothing and keep their connections, and the server releases the
// hostile ones.
func TestAbuse(t *testing.T) {
	o := Defaults()
	o.Server = filepath.Join(t.TempDir(), "server")
	if err := node.Build(t.Context(), o.Server, false); err != nil {
		t.Fatal(err)
	}
	o.Healthy, o.Hostile, o.Phase, o.Bounds = 200, 270, time.Second, nil
	for _, mode := range o.Modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o, out, stderr := o, bytes.Buffer{}, bytes.Buffer{}
			o.Modes, o.Out, o.Stderr = []string{mode}, &out, &stderr
			if err := Run(t.Context(), o); err != nil {
				t.Fatalf("%v\n%s\n%s", err, &out, &stderr)
			}
			if !strings.Contains(out.String(), "Verdict: passed") {
				t.Errorf("no verdict:\n%s", &out)
			}
			for _, kind := range append(attack.Kinds(), "all together") {
				_, server, _ := strings.Cut(out.String(), "| MB |")
				_, line, found := strings.Cut(server, "\n| "+kind+" | ")
				cells := strings.Split(line, " | ")
				const made = 3
				if !found || cells[made] == "0" {
					t.Errorf("%s: no hostile client was there:\n%s", kind, &out)
				}
			}
		})
	}
}

// What exceeds the bounds fails.
func TestJudge(t *testing.T) {
	bounds := Bounds{Latency: 2, Free: 10 * time.Millisecond, Flood: time.Second, Memory: 2, PerHostile: 1000}
	calm := phase{name: "calm", p99: 20 * time.Millisecond, memory: 1e6}
	for _, c := range []struct {
		name string
		phase
		failures int
	}{
		{"as calm", calm, 0},
		{"late", phase{p99: 41 * time.Millisecond}, 1},
		{"late in a flood", phase{p99: 41 * time.Millisecond, flood: true}, 0},
		{"very late in a flood", phase{p99: 2 * time.Second, flood: true}, 1},
		{"large", phase{memory: 2.2e6}, 1},
		{"as large as the hostile may make it", phase{memory: 2.05e6}, 0},
	} {
		r := run{Options: Options{Bounds: &bounds, Hostile: 100}, phases: []phase{calm, c.phase}}
		if r.judge(); len(r.failures) != c.failures {
			t.Errorf("%s: failures %q, want %d", c.name, r.failures, c.failures)
		}
	}
}

func TestUnknownKind(t *testing.T) {
	if _, err := attack.Run(t.Context(), attack.Options{Kinds: []string{"friendly"}}); !errors.Is(err, attack.ErrOptions) {
		t.Errorf("%v, want %v", err, attack.ErrOptions)
	}
}

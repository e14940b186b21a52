package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/redisserver"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/scenario"
	"github.com/tandem-ws/tandem/compare/variant"
	"github.com/tandem-ws/tandem/internal/command"
	"github.com/tandem-ws/tandem/internal/programtest"
)

// measured runs compare to its end, which must be a good one, and reads the folder.
func measured(t *testing.T, args ...string) (*result.Folder, *programtest.Process) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "results")
	p := programtest.Start(t, append([]string{"run", "-profile", "tiny", "-server", server, "-out", out}, args...)...)
	if code := p.Exit(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.Stderr.String())
	}
	f, err := result.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	return f, p
}

// TestRun takes both modes through every scenario.
func TestRun(t *testing.T) {
	t.Parallel()
	f, _ := measured(t, "-variants", "idiomatic,optimized")
	for _, s := range f.Samples {
		if !s.Sound() || s.Bound == "" || len(s.Values) == 0 {
			t.Errorf("%s, %s: %q, bound %q, %v", s.Name(), s.Variant, s.Flaws, s.Bound, s.Values)
		}
		if s.Scenario != "redis-restart" && s.Counters.Delivered < s.Expected {
			t.Errorf("%s, %s: %d of %d delivered", s.Name(), s.Variant, s.Counters.Delivered, s.Expected)
		}
	}
	// The same table as on the terminal, where titles may be cut in two.
	table, err := os.ReadFile(filepath.Join(f.Path, "table.md"))
	if err != nil {
		t.Fatal(err)
	}
	points := f.Points()
	for _, sc := range scenario.All() {
		i := slices.IndexFunc(points, func(p *result.Point) bool { return p.Scenario == sc.Name })
		if i < 0 || len(points[i].Samples("idiomatic")) == 0 || len(points[i].Samples("optimized")) == 0 {
			t.Errorf("%s: not measured", sc.Name)
		}
		if !strings.Contains(string(table), sc.Title) && sc.Name != result.LedgerScenario {
			t.Errorf("%s is not in the table: %s", sc.Title, table)
		}
	}
	m := f.Manifest
	if m.Partial != "" || m.Done != m.Planned || m.Done != 2*len(scenario.All()) || m.Host.Kernel == "" || m.Server == "" || m.Redis.Embedded ||
		!strings.Contains(m.Repeat, "-variants idiomatic,optimized") || !slices.Contains(m.Variants[0].Env, "MODE=idiomatic") {
		t.Errorf("manifest %+v", m)
	}
	if page, err := os.ReadFile(filepath.Join(f.Path, result.ReportFile)); err != nil || len(page) < 10_000 {
		t.Errorf("report of %d bytes, %v", len(page), err)
	}
	what := func(scenario, variant, metric string) float64 {
		for _, p := range points {
			if g := p.Figure(variant, metric); p.Scenario == scenario && g.Have() {
				return g.Median
			}
		}
		t.Errorf("%s, %s: no %s", scenario, variant, metric)
		return 0
	}
	// the names of functions that the ledger goes by
	for _, item := range []string{result.LedgerStacks, result.LedgerRead, result.LedgerWrite, result.LedgerQueue, result.LedgerRecord, result.LedgerSession} {
		if v := what("ledger", "idiomatic", item); v < 64 {
			t.Errorf("ledger of idiomatic: %s is %g bytes", item, v)
		}
	}
	if v := what("idle", "idiomatic", result.Goroutines); v != 2 {
		t.Errorf("%g goroutines for a connection of the idiomatic mode", v)
	}
}

// TestInterrupt ends a measurement by every signal.
func TestInterrupt(t *testing.T) {
	for _, s := range programtest.Endings {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "results")
			p := programtest.Start(t, "run", "-server", server, "-out", out, "-profile", "tiny", "-scenarios", "storm,broadcast", "-variants", "optimized", "-window", "60s")
			programtest.Until(t, "the second run has begun", func() bool { return strings.Contains(p.Stderr.String(), "2/2") })
			p.Child(t, server)
			p.Child(t, " load")
			p.Child(t, "redis-server")
			if code := p.EndBy(t, s); code != 1 || !strings.Contains(p.Stderr.String(), "interrupted: 1 of 2 runs were made") {
				t.Errorf("exit code %d: %s", code, p.Stderr.String())
			}
			f, err := result.Read(out)
			if err != nil || len(f.Samples) != 1 || f.Samples[0].Scenario != "storm" || !strings.Contains(f.Manifest.Partial, "interrupted") {
				t.Errorf("%+v, %v", f, err)
			}
			if _, err := os.Stat(filepath.Join(out, result.ReportFile)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestInterruptBeforeTheFirstRun leaves nothing, not even a folder.
func TestInterruptBeforeTheFirstRun(t *testing.T) {
	for _, s := range programtest.Endings {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "results")
			p := programtest.Start(t, "run", "-server", server, "-out", out, "-profile", "tiny", "-scenarios", "broadcast", "-variants", "optimized", "-window", "60s")
			programtest.Until(t, "the first run has begun", func() bool { return strings.Contains(p.Stderr.String(), "1/1") })
			if code := p.EndBy(t, s); code != 1 || !strings.HasSuffix(p.Stderr.String(), "interrupted: nothing was measured\n") || p.Stdout.String() != "" {
				t.Errorf("exit code %d: %s", code, p.Stderr.String())
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("leaves a folder: %v", err)
			}
		})
	}
}

// TestInterruptBuild ends subcommands while they build the server.
func TestInterruptBuild(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"run", "-out", filepath.Join(t.TempDir(), "results")}, {"live", "-no-open", "-addr", "127.0.0.1:0"}, {"anchor"}} {
		p := programtest.Start(t, args...)
		p.Child(t, "go build")
		p.EndBy(t, syscall.SIGHUP)
	}
}

// TestInterruptOthers ends the other subcommands that start processes.
func TestInterruptOthers(t *testing.T) {
	t.Parallel()
	for _, s := range programtest.Endings {
		for name, args := range map[string][]string{
			"live":   {"live", "-no-open", "-addr", "127.0.0.1:0", "-server", server, "-connections", "10"},
			"anchor": {"anchor", "-server", server, "-only", "idle"},
		} {
			t.Run(name+", "+s.String(), func(t *testing.T) {
				t.Parallel()
				p := programtest.Start(t, args...)
				p.Child(t, " load")
				want := map[string]int{"live": 0, "anchor": 1}[name]
				if code := p.EndBy(t, s); code != want {
					t.Errorf("exit code %d, want %d: %s", code, want, p.Stderr.String())
				}
			})
		}
	}
}

// TestKilled kills compare itself, which then cannot tidy up.
func TestKilled(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "results")
	p := programtest.Start(t, "run", "-server", server, "-out", out, "-profile", "tiny", "-scenarios", "storm,broadcast", "-variants", "optimized", "-window", "60s")
	programtest.Until(t, "the second run has begun", func() bool { return strings.Contains(p.Stderr.String(), "2/2") })
	p.Child(t, " load")
	children := p.Children(t)
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Exit(t)
	for pid, line := range children {
		programtest.Until(t, line+"has ended", func() bool { return !programtest.Alive(pid) })
	}
	if f, err := result.Read(out); err != nil || len(f.Samples) != 1 || f.Manifest.Done != 1 || f.Manifest.Partial == "" {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestProcessDies kills what a run needs while it is measured.
func TestProcessDies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ command, name string }{
		{server, "server (optimized)"}, {"redis-server", "redis-server"}, {" load", "load"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "results")
			p := programtest.Start(t, "run", "-server", server, "-out", out, "-profile", "tiny", "-scenarios", "storm,broadcast", "-variants", "optimized", "-window", "60s")
			programtest.Until(t, "the second run has begun", func() bool { return strings.Contains(p.Stderr.String(), "2/2") })
			p.Child(t, " load") // the last to be started
			pid := p.Child(t, c.command)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			code := p.Exit(t)
			lines := strings.Split(strings.TrimSpace(p.Stderr.String()), "\n")
			last := lines[len(lines)-1]
			if code != 1 || !strings.HasPrefix(last, "compare: ") || !strings.Contains(last, c.name) || !strings.Contains(last, "killed") || !strings.Contains(last, "1 of 2 runs failed") {
				t.Errorf("exit code %d: %s", code, p.Stderr.String())
			}
			f, err := result.Read(out)
			if err != nil || len(f.Samples) != 1 || f.Samples[0].Scenario != "storm" || len(f.Manifest.Failed) != 1 || f.Manifest.Partial == "" {
				t.Errorf("%+v, %v", f, err)
			}
			if !strings.Contains(p.Stdout.String(), "1 of 2 runs failed") {
				t.Errorf("the table does not say that something is missing: %s", p.Stdout.String())
			}
		})
	}
}

// TestBadInput: one line that says what is wrong, and no folder.
func TestBadInput(t *testing.T) {
	t.Parallel()
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.MkdirAll(taken, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(taken, result.SamplesFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closed := freePort(t)
	self := strconv.Itoa(os.Getpid())
	for want, args := range map[string][]string{
		`variant: "fast" is unknown`:          {"-variants", "fast"},
		`scenario: "fly" is unknown`:          {"-scenarios", "fly"},
		`profile "huge" is unknown`:           {"-profile", "huge"},
		`the server has no setting SEND_QUEU`: {"-variant", "a=SEND_QUEU=1"},
		`-variant a cannot be measured: run: the server of variant a does not become`: {"-variants", "none", "-variant", "a=MODE=fast"},
		`holds results already`:  {"-out", taken},
		`not a directory`:        {"-out", "/dev/null/results"},
		`is it a Tandem server?`: {"-server", "/bin/false"},
		`pid 2147483647`:         {"-variants", "none", "-variant", "a=ws://127.0.0.1:1,pid=2147483647,redis=redis://127.0.0.1:1"},
		`does not answer`:        {"-variants", "none", "-variant", "a=ws://" + closed + ",pid=" + self + ",redis=redis://127.0.0.1:1"},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "results")
			p := programtest.Start(t, append([]string{"run", "-server", server, "-out", out, "-profile", "tiny", "-scenarios", "storm"}, args...)...)
			code := p.Exit(t)
			lines := strings.Split(strings.TrimSpace(p.Stderr.String()), "\n")
			if last := lines[len(lines)-1]; code != command.StatusUsage || !strings.HasPrefix(last, "compare: ") || !strings.Contains(last, want) {
				t.Errorf("exit code %d: %s", code, p.Stderr.String())
			}
			if p.Stdout.String() != "" {
				t.Errorf("shows figures: %s", p.Stdout.String())
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("leaves a folder: %v", err)
			}
		})
	}
}

// TestBadValues: a value that cannot be used has the exit code of a wrong flag, in
// every subcommand.
func TestBadValues(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for _, args := range [][]string{
		{"run", "-nonsense"}, {"run", "surplus"}, {"run", "-repeats", "-1"}, {"run", "-repeats", "x"}, {"run", "-connections", "5,x"},
		{"run", "-budget", "-1s"}, {"run", "-window", "-1s"}, {"run", "-size", "1"}, {"run", "-server", missing},
		{"report"}, {"report", "-nonsense"}, {"report", missing}, {"report", missing, missing}, {"report", "-bench", missing},
		{"live", "-connections", "-1"}, {"live", "-addr", "here"}, {"live", "-addr", "192.0.2.1:0"}, {"live", "-server", missing},
		{"drive"}, {"drive", "-target", "a"}, {"drive", "-target", "a=h:1", "-rate", "NaN"}, {"drive", "-target", "a=h:1", "-metrics", "x"},
		{"drive", "-target", "a=h:1", "-metrics", "127.0.0.1:0", "-redis", "http://h"},
		{"drive", "-target", "a=h:1", "-connect-rate", "0"}, {"drive", "-target", "a=h:1", "-channels", "0"},
		{"load", "surplus"}, {"redis", "-port", "99999"}, {"redis", "-port", "0"},
		{"anchor", "-repeats", "0"}, {"anchor", "-only", "fly"}, {"anchor", "-protocol", "smoke"}, {"anchor", "-peer", "unknown"},
		{"anchor", "-floor", missing}, {"anchor", "-env", "MODE"}, {"anchor", "-payload", "1"}, {"anchor", "-load-cpu", "0"}, {"anchor", "-load-cpu", "-3"},
		{"anchor", "-low-time", "-1s"}, {"anchor", "-server", missing},
		{"fly"}, {},
	} {
		p := programtest.Start(t, args...)
		if code := p.Exit(t); code != command.StatusUsage || p.Stderr.String() == "" || p.Stdout.String() != "" {
			t.Errorf("compare %q: exit code %d, %s%s", args, code, p.Stdout.String(), p.Stderr.String())
		}
	}
}

// TestBudget leaves out what does not fit, for all variants alike.
func TestBudget(t *testing.T) {
	t.Parallel()
	f, p := measured(t, "-scenarios", "storm,broadcast", "-repeats", "9", "-budget", "1ms", "-variants", "idiomatic,optimized")
	if len(f.Samples) != 4 || f.Manifest.Planned != 4 || f.Manifest.Partial != "" || !strings.Contains(p.Stderr.String(), "the rest of repeat 2 is left out") {
		t.Errorf("%d samples, %+v: %s", len(f.Samples), f.Manifest, p.Stderr.String())
	}
}

func TestList(t *testing.T) {
	p := programtest.Start(t, "run", "-list", "-scenarios", "burst,idle")
	code := p.Exit(t)
	if said := p.Stdout.String(); code != 0 || !strings.HasPrefix(said, "burst: Burst\n") || !strings.Contains(said, "idle: Idle memory\n") {
		t.Errorf("exit code %d: %s %s", code, said, p.Stderr.String())
	}
	p = programtest.Start(t, "run", "-list", "-profile", "huge")
	if code := p.Exit(t); code != command.StatusUsage || !strings.Contains(p.Stderr.String(), `profile "huge" is unknown`) {
		t.Errorf("exit code %d: %s", code, p.Stderr.String())
	}
}

// TestWithoutRedis uses the embedded Redis, and says so.
func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "results")
	p := programtest.New(t, "run", "-server", server, "-out", out, "-profile", "tiny", "-scenarios", "channels,redis-restart", "-variants", "optimized")
	p.Env = append(p.Env, "PATH="+t.TempDir())
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if code := p.Exit(t); code != 0 || !strings.Contains(p.Stderr.String(), "using an embedded Redis") {
		t.Fatalf("exit code %d: %s", code, p.Stderr.String())
	}
	f, err := result.Read(out)
	if err != nil || len(f.Samples) != 2 || !f.Samples[0].Sound() || !f.Samples[1].Sound() || !f.Manifest.Redis.Embedded {
		t.Errorf("%+v, %v", f, err)
	}
	if !strings.Contains(p.Stdout.String(), "mbedded") {
		t.Errorf("the table does not say so: %s", p.Stdout.String())
	}
}

// TestSeveralProcesses has fewer descriptors than connections.
func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "results")
	p := programtest.New(t, "run", "-server", server, "-out", out, "-profile", "tiny", "-variants", "optimized",
		"-scenarios", "idle,broadcast,channels,publish,churn,redis-restart", "-connections", "200,1500", "-window", "300ms")
	p.Cmd.Args = append([]string{"sh", "-c", `ulimit -n 2100; exec "$0" "$@"`, p.Path}, p.Cmd.Args[1:]...)
	p.Path = "/bin/sh"
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	nodes := 0
	ended := make(chan int, 1)
	go func() { ended <- p.Exit(t) }()
	for code := -1; code < 0; {
		select {
		case code = <-ended:
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, p.Stderr.String())
			}
		case <-time.After(20 * time.Millisecond):
			now := 0
			for _, line := range p.Children(t) {
				if strings.HasPrefix(line, server) {
					now++
				}
			}
			nodes = max(nodes, now)
		}
	}
	f, err := result.Read(out)
	if err != nil || len(f.Samples) != 7 || nodes != 2 {
		t.Fatalf("%d nodes, %+v, %v", nodes, f, err)
	}
	for _, s := range f.Samples {
		if !s.Sound() || s.Connections != 1500 && s.Connections != 200 {
			t.Errorf("%s: %d connections, %q", s.Name(), s.Connections, s.Flaws)
		}
	}
}

// TestExternalServer measures a server that runs already, published to through
// Redis and through its API.
func TestExternalServer(t *testing.T) {
	t.Parallel()
	redis, err := redisserver.Start(redisserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Stop(time.Second)
	public, internal := freePort(t), freePort(t)
	s, err := process.Start(process.Spec{Name: "server", Path: server, Env: []string{
		"ADDR=" + public, "INTERNAL_ADDR=" + internal, "REDIS_URL=" + redis.URL(), "REDIS_PREFIX=p:", "API_KEY=secret", "CLIENT_PUBLISH=true",
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(0)
	programtest.Until(t, "the server is ready", func() bool {
		response, err := http.Get("http://" + internal + "/readyz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
		return response.StatusCode == http.StatusOK
	})
	http.DefaultClient.CloseIdleConnections()
	mine := fmt.Sprintf("=ws://%s,pid=%d,", public, s.PID())
	f, p := measured(t, "-variants", "none", "-scenarios", "idle,broadcast,channels,churn,frozen,redis-restart",
		"-variant", "redis"+mine+"redis="+redis.URL()+",prefix=p:,internal=http://"+internal,
		"-variant", "api"+mine+"api=http://"+internal+"/api/publish,key=secret")
	for _, name := range []string{"redis", "api"} {
		n := 0
		for _, s := range f.Samples {
			if s.Variant == name {
				n++
			}
			if !s.Sound() {
				t.Errorf("%s, %s: %q", s.Name(), s.Variant, s.Flaws)
			}
		}
		if n != 6 { // idle has two points
			t.Errorf("%s: %d samples", name, n)
		}
	}
	if len(f.Manifest.Skipped) != 2 || strings.Contains(fmt.Sprint(f.Manifest), "secret") {
		t.Errorf("manifest %+v", f.Manifest)
	}
	if strings.Contains(p.Stderr.String(), "building") || s.Died() != nil {
		t.Errorf("%v: %s", s.Died(), p.Stderr.String())
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// TestBuiltinVariantsAreKnown holds the settings of the built-in variants against the
// server's own.
func TestBuiltinVariantsAreKnown(t *testing.T) {
	help, err := exec.CommandContext(context.Background(), server, "-help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range variant.Builtin() {
		for _, kv := range a.Env {
			if key, _, _ := strings.Cut(kv, "="); !strings.Contains(string(help), "\n"+key+" ") {
				t.Errorf("%s: the server does not know %s", a.Name, key)
			}
		}
	}
}

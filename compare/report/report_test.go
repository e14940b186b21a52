package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"

	"github.com/tandem-ws/tandem/compare/result"
)

func tableText(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.Table(&b, 200); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// squeeze makes one space of every run of spaces and lines of tables.
func squeeze(s string) string {
	return regexp.MustCompile(`[\s│]+`).ReplaceAllString(s, " ")
}

func wants(t *testing.T, what, have string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(have, w) {
			t.Errorf("%s does not say %q:\n%s", what, w, have)
		}
	}
}

func TestTableHasMediansRangesRatiosAndDefeats(t *testing.T) {
	have := tableText(t, read(t, folder(t, nil)))
	wants(t, "the table", squeeze(have),
		"INCOMPLETE: 1 of 41 runs failed",
		"failed: optimized, Connect storm, run 5: the server died",
		"not run: idiomatic, Redis restart, run all",
		"23.4 KB 240 B", "(238 to 242)", "100× less: better",
		"80.0 µs 19.5 µs", "(78.0 to 82.0) (18.0 to 21.0)",
		"14.0 µs 14.0 µs", "the same",
		"2× more: worse",
		"Where optimized loses to idiomatic",
		"Broadcast at fixed rates, 6 a second: latency p99 20.0 ms (19.5 to 20.5) against 10.0 ms (9.50 to 10.5), 2× more",
		"nothing but the",
	)
	if strings.Contains(have, "latency max") {
		t.Error("a figure without better and worse is in the headline table")
	}
}

// TestBeyondTheNoise shows that every row says whether its difference is beyond the noise.
func TestBeyondTheNoise(t *testing.T) {
	r := read(t, folder(t, lossy))
	for _, c := range []struct{ scenario, point, metric, want string }{
		{"idle", "200 connections", result.PerConnection, "optimized better than idiomatic"},
		{"broadcast", "6 a second", result.P99, "optimized worse than idiomatic"},
		{"broadcast", "6 a second", result.DeliveryCPU, "no"},
		{"broadcast", "3 a second", result.P99, "not judged"},
		{"broadcast", "6 a second", result.Max, ""}, // neither more nor less is better
	} {
		for _, p := range r.of(c.scenario) {
			if p.Name != c.point {
				continue
			}
			if got := r.beyondNoise(p, result.MetricOf(c.metric)); got != c.want {
				t.Errorf("%s, %s, %s: %q, want %q", c.scenario, c.point, c.metric, got, c.want)
			}
		}
	}
	wants(t, "the table", squeeze(tableText(t, r)), "beyond the noise", "optimized better")
	path := t.TempDir()
	if _, err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{result.ReportFile, TableFile} {
		wants(t, name, fileText(t, filepath.Join(path, name)), "beyond the noise", "optimized worse than idiomatic")
	}
}

// TestTableFitsTheTerminal: the same is said on every terminal.
func TestTableFitsTheTerminal(t *testing.T) {
	r := read(t, folder(t, lossy))
	for _, columns := range []int{40, 60, 80, 100, 132, 200} {
		var b strings.Builder
		if err := r.Table(&b, columns); err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(b.String(), "\n") {
			if n := len([]rune(line)); n > columns {
				t.Errorf("%d columns: a line takes %d: %s", columns, n, line)
			}
		}
		if columns < 80 {
			continue
		}
		wants(t, "the table", squeeze(b.String()), "23.4 KB", "240 B", "(238 to 242)", "100× less: better", "not judged: flawed runs", "FLAWED: 1 of 5 runs", "INCOMPLETE")
	}
}

func TestFlawedRunsAreMarkedAndNotJudged(t *testing.T) {
	r := read(t, folder(t, lossy))
	have := tableText(t, r)
	wants(t, "the table", squeeze(have),
		"FLAWED: 1 measurement of 69 is not to be trusted: optimized in broadcast 3 a second",
		"flawed: optimized, Broadcast at fixed rates 3 a second, run 2: 7 of 200 lost",
		"FLAWED: 1 of 5 runs", "not judged: flawed runs",
		"Not judged, for runs were flawed: 2 comparisons.",
	)
	if strings.Contains(have, "3 a second: latency p99") {
		t.Error("a defeat was found in flawed runs")
	}
	path := t.TempDir()
	if _, err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	wants(t, "the page", fileText(t, filepath.Join(path, result.ReportFile)), "7 of 200 lost", "7 lost")
}

func TestBoundIsStated(t *testing.T) {
	r := read(t, folder(t, func(_ *result.Manifest, samples *[]result.Sample) {
		for i := range *samples {
			if s := &(*samples)[i]; s.Scenario == "broadcast" && s.X == 6 && s.Variant == "optimized" {
				s.Bound = result.BoundLoad
				if s.Repeat == 1 {
					s.Bound = result.BoundOthers
				}
			}
		}
	}))
	wants(t, "the table", tableText(t, r),
		"DISTURBED: other programs used the CPUs in 1 of 69 measurements",
		"2× more (the runs of optimized were bounded by load CPU, not by the server)",
	)
	points := r.of("broadcast")
	if have := r.bound(points[0]); have != "nothing but the offered load" {
		t.Errorf("bounded by %q", have)
	}
	if have, want := r.bound(points[1]), "idiomatic: nothing but the offered load;\noptimized: load CPU (the generator, not the server)"; have != want {
		t.Errorf("bounded by %q, want %q", have, want)
	}
}

func TestSingleRunsHaveNoVerdict(t *testing.T) {
	have := tableText(t, read(t, folder(t, func(_ *result.Manifest, samples *[]result.Sample) {
		var first []result.Sample
		for _, s := range *samples {
			if s.Repeat == 1 {
				first = append(first, s)
			}
		}
		*samples = first
	})))
	wants(t, "the table", squeeze(have), "single run, noise unknown", "Perhaps (single run, noise unknown): Broadcast at fixed rates, 3 a second: latency p99")
	for _, word := range []string{": better", ": worse"} {
		if strings.Contains(have, word) {
			t.Errorf("one run was judged %q:\n%s", word, have)
		}
	}
}

func TestOneVariantAlone(t *testing.T) {
	path := folder(t, func(m *result.Manifest, samples *[]result.Sample) {
		m.Variants = []result.Variant{{Name: "centrifugo", External: "ws://127.0.0.1:8000/x"}}
		var own []result.Sample
		for _, s := range *samples {
			if s.Variant == "idiomatic" {
				s.Variant = "centrifugo"
				own = append(own, s)
			}
		}
		*samples, m.Failed, m.Skipped = own, nil, nil
	})
	r := read(t, path)
	if have := tableText(t, r); strings.Contains(have, "loses") || strings.Contains(have, "against") {
		t.Errorf("one variant is compared:\n%s", have)
	}
	if _, err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	page := fileText(t, filepath.Join(path, result.ReportFile))
	wants(t, "the page", page, "external server at ws://127.0.0.1:8000/x", "the measurement ended earlier")
	if strings.Contains(page, "NaN") {
		t.Error("the page shows NaN")
	}
}

func TestLedgerStandsBesideTheArticle(t *testing.T) {
	var b strings.Builder
	if err := read(t, folder(t, nil)).markdown(&b); err != nil {
		t.Fatal(err)
	}
	wants(t, "the ledger", b.String(),
		"| goroutine stacks | 8.00 KB | 11.7 KB | 120 B |",
		"| user memory | 24.0 KB | 23.5 KB | 340 B |",
		// of the idle scenario's slope: 240 B and half of 6,000 B, 3 million times
		"| user memory | 68.7 GB | 67.1 GB | 687 MB |",
		"| kernel, server's end | - | 8.38 GB | 8.38 GB |",
		"| together | - | 75.4 GB | 9.05 GB |",
		"| kernel's share | - | 11% | 93% |",
	)
}

func TestWriteMakesTheSameAgain(t *testing.T) {
	path := folder(t, lossy)
	first := map[string]string{}
	for round := range 2 {
		files, err := read(t, path).Write(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 6 {
			t.Errorf("%d files: %q", len(files), files)
		}
		err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			switch s := fileText(t, name); {
			case round == 0:
				first[name] = s
			case first[name] != s:
				t.Errorf("%s is another one the second time", name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	charts := 0
	for name, s := range first {
		switch filepath.Ext(name) {
		case ".svg":
			charts++
			wellFormed(t, name, s)
		case ".png":
			if size, err := png.DecodeConfig(strings.NewReader(s)); err != nil || size.Width != 2*int(pictureWidth) {
				t.Errorf("%s is %d wide: %v", name, size.Width, err)
			}
		}
		if filepath.Ext(name) != ".png" && regexp.MustCompile(`NaN|Inf\b`).MatchString(s) {
			t.Errorf("%s shows what is no number", name)
		}
	}
	if charts < 10 {
		t.Errorf("only %d drawings: %v", charts, first)
	}
}

func wellFormed(t *testing.T, name, s string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}

func TestPageTrustsNoText(t *testing.T) {
	path := folder(t, nil)
	if _, err := read(t, path).Write(path); err != nil {
		t.Fatal(err)
	}
	page := fileText(t, filepath.Join(path, result.ReportFile))
	wants(t, "the page", page, "&lt;script&gt;boom()", "&lt;b&gt;not ours")
	if strings.Contains(page, "<script") {
		t.Error("the page has a script")
	}
}

func TestBenchIsReadByBenchstat(t *testing.T) {
	var b bytes.Buffer
	if err := read(t, folder(t, lossy)).Bench(&b); err != nil {
		t.Fatal(err)
	}
	found := map[string][]float64{}
	better := map[string]string{}
	in := benchfmt.NewReader(&b, "samples")
	for in.Scan() {
		switch rec := in.Result().(type) {
		case *benchfmt.Result:
			for _, v := range rec.Values {
				key := string(rec.Name.Full()) + " " + v.Unit
				found[key] = append(found[key], v.Value)
			}
		case *benchfmt.UnitMetadata:
			if rec.Key == "better" {
				better[rec.Unit] = rec.Value
			}
		case *benchfmt.SyntaxError:
			t.Error(rec)
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{
		"Storm/variant=idiomatic/connections=200/x=200 cpu-us-per-connect":        5,
		"Storm/variant=optimized/connections=200/x=200 cpu-us-per-connect":        4, // one run failed
		"Broadcast/variant=optimized/connections=200/x=3 latency-p99-ms":          4, // one lost messages
		"Broadcast/variant=optimized/connections=200/x=6 latency-p99-ms":          5,
		"Idle/variant=optimized/connections=200/x=200 pss-per-connection-B":       5,
		"Ledger/variant=optimized/connections=200/x=200 ledger-read-buffer-B":     5,
		"Idle/variant=idiomatic/connections=200/x=100 pss-B":                      5,
		"Broadcast/variant=idiomatic/connections=200/x=6 cpu-us-per-delivery":     5,
		"Broadcast/variant=idiomatic/connections=200/x=6 latency-max-ms":          5,
		"Storm/variant=idiomatic/connections=200/x=200 connect-p99-ms":            5,
		"Idle/variant=idiomatic/connections=200/x=200 kernel-per-connection-B":    5,
		"RedisRestart/variant=optimized/connections=200/x=200 recovery-seconds-s": 0,
	} {
		if len(found[name]) != want {
			t.Errorf("%d values of %q, want %d", len(found[name]), name, want)
		}
	}
	if v := found["Idle/variant=idiomatic/connections=200/x=100 pss-B"]; len(v) > 0 && v[0] != 25<<20 {
		t.Errorf("25 MB became %v bytes", v[0])
	}
	if better["cpu-us-per-connect"] != "lower" || better["latency-max-ms"] != "" {
		t.Errorf("what is better: %v", better)
	}
}

func TestChanges(t *testing.T) {
	before := read(t, folder(t, nil))
	after := read(t, folder(t, func(m *result.Manifest, samples *[]result.Sample) {
		m.Commit, m.Host.Kernel = "def456", "6.19"
		for i := range *samples {
			s := &(*samples)[i]
			if s.Scenario == "storm" && s.Variant == "idiomatic" {
				s.Values[result.ConnectCPU] /= 2
			}
			if s.Scenario == "idle" && s.Variant == "optimized" && s.X == 200 {
				s.Values[result.PerConnection] *= 3
			}
		}
	}))
	var b strings.Builder
	if err := Changes(&b, before, after, 200); err != nil {
		t.Fatal(err)
	}
	wants(t, "the comparison", squeeze(b.String()),
		`not measured alike: kernel was "6.18", is "6.19"`, "commit abc123", "commit def456",
		"2× less 0.008 better", "3× more 0.008 worse", "1 better, 1 worse",
	)
	b.Reset()
	if err := Changes(&b, before, after, 80); err != nil {
		t.Fatal(err)
	}
	if n := widest(b.String()); n > 80 {
		t.Errorf("a line takes %d columns:\n%s", n, b.String())
	}
	other := read(t, folder(t, func(m *result.Manifest, samples *[]result.Sample) {
		m.Variants = []result.Variant{{Name: "x"}}
		*samples = (*samples)[:1]
		(*samples)[0].Variant = "x"
	}))
	if err := Changes(io.Discard, before, other, 200); !errors.Is(err, ErrNothing) {
		t.Errorf("two folders without anything in common: %v", err)
	}
}

func TestDamagedFolders(t *testing.T) {
	rewrite := func(file string, change func(string) string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			name := filepath.Join(path, file)
			if err := os.WriteFile(name, []byte(change(fileText(t, name))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, damage := range map[string]func(*testing.T, string){
		"no manifest":        func(_ *testing.T, path string) { _ = os.Remove(filepath.Join(path, result.ManifestFile)) },
		"no samples":         func(_ *testing.T, path string) { _ = os.Remove(filepath.Join(path, result.SamplesFile)) },
		"empty samples":      rewrite(result.SamplesFile, func(string) string { return "" }),
		"half a manifest":    rewrite(result.ManifestFile, func(s string) string { return s[:len(s)/2] }),
		"unknown variant":    rewrite(result.SamplesFile, func(s string) string { return strings.Replace(s, `"arm":"idiomatic"`, `"arm":"ghost"`, 1) }),
		"unknown scenario":   rewrite(result.SamplesFile, func(s string) string { return strings.Replace(s, `"scenario":"idle"`, `"scenario":"ghost"`, 1) }),
		"a sample twice":     rewrite(result.SamplesFile, func(s string) string { line, _, _ := strings.Cut(s, "\n"); return s + line + "\n" }),
		"broken histogram":   rewrite(result.SamplesFile, func(s string) string { return strings.Replace(s, `"latency":"HIST`, `"latency":"XXXX`, 1) }),
		"a sample of nobody": rewrite(result.SamplesFile, func(s string) string { return s + "{}\n" }),
	} {
		t.Run(name, func(t *testing.T) {
			path := folder(t, nil)
			damage(t, path)
			_, err := Load(path)
			if !errors.Is(err, result.ErrFolder) {
				t.Fatalf("no complaint about the folder: %v", err)
			}
			if s := err.Error(); strings.Contains(s, "\n") || !strings.Contains(s, path) {
				t.Errorf("not one line that names the folder: %s", s)
			}
		})
	}
}

// TestHalfASampleIsNone reads what a machine that went down left.
func TestHalfASampleIsNone(t *testing.T) {
	path := folder(t, func(m *result.Manifest, _ *[]result.Sample) { m.Partial, m.Done, m.Failed = "", m.Planned, nil })
	name := filepath.Join(path, result.SamplesFile)
	s := fileText(t, name)
	if err := os.WriteFile(name, []byte(s[:len(s)-20]), 0o644); err != nil {
		t.Fatal(err)
	}
	wants(t, "the table", tableText(t, read(t, path)), "INCOMPLETE: ")
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.00001: "0", 0.0254: "0.025", 0.25: "0.250", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 99.96: "100", 123456: "123,000", -1234: "-1,230"} {
		if have := number(v); have != want {
			t.Errorf("number(%v) is %s, want %s", v, have, want)
		}
	}
	for v, want := range map[float64]string{0: "0 B", 437.4: "437 B", 24 << 10: "24.0 KB", 3 << 20: "3.00 MB", 5 << 30: "5.00 GB"} {
		if have := amount(v, "B"); have != want {
			t.Errorf("amount(%v) is %s, want %s", v, have, want)
		}
	}
	if have := amount(15.46e6, "/s"); have != "15.5 million/s" {
		t.Errorf("amount is %s", have)
	}
	for v, want := range map[float64]string{1: "the same", 1.1: "10% more", 0.95: "5.0% less", 2: "2× more", 0.1: "10× less", 0.00754: "130× less", -1: "", 0: ""} {
		if have := change(v); have != want {
			t.Errorf("change(%v) is %s, want %s", v, have, want)
		}
	}
}

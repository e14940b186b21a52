package result

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tandem-ws/tandem/compare/load"
)

func TestFigureOf(t *testing.T) {
	for _, c := range []struct {
		values           []float64
		median, low, top float64
	}{
		{[]float64{3, 1, 2}, 2, 1, 3},
		{[]float64{4, 1}, 2.5, 1, 4},
		{[]float64{7}, 7, 7, 7},
	} {
		if f := FigureOf(c.values); f.Median != c.median || f.Low != c.low || f.Top != c.top || !f.Have() {
			t.Errorf("%v: %+v", c.values, f)
		}
	}
	if f := FigureOf(nil); f.Have() || !math.IsNaN(f.Median) {
		t.Errorf("of nothing: %+v", f)
	}
}

func TestJudge(t *testing.T) {
	cost, gain, plain := Metric{}, Metric{More: true}, Metric{Plain: true}
	for name, c := range map[string]struct {
		m    Metric
		a, b []float64
		want Verdict
	}{
		"nothing there":             {cost, nil, []float64{1}, None},
		"one run each":              {cost, []float64{10}, []float64{1}, Unknown},
		"one against several":       {cost, []float64{10, 11}, []float64{1}, Unknown},
		"two, apart, less cost":     {cost, []float64{10, 11}, []float64{5, 6}, Better},
		"two, apart, more cost":     {cost, []float64{5, 6}, []float64{10, 11}, Worse},
		"two, apart, more gain":     {gain, []float64{5, 6}, []float64{10, 11}, Better},
		"two, apart, less gain":     {gain, []float64{10, 11}, []float64{5, 6}, Worse},
		"two, apart, no better":     {plain, []float64{10, 11}, []float64{5, 6}, Differs},
		"two, ranges touch":         {cost, []float64{10, 20}, []float64{5, 11}, Noise},
		"five, one stray each":      {cost, []float64{10, 11, 12, 13, 90}, []float64{5, 6, 7, 8, 10.5}, Better},
		"five, mixed":               {cost, []float64{10, 12, 14, 16, 18}, []float64{11, 13, 15, 17, 9}, Noise},
		"steady, but next to equal": {cost, []float64{100, 100.1, 100.2, 100.3, 100.4}, []float64{101, 101.1, 101.2, 101.3, 101.4}, Noise},
		"less than matters":         {Metric{Floor: 16}, []float64{20, 21}, []float64{30, 31}, Noise},
	} {
		if got := Judge(c.m, FigureOf(c.a), FigureOf(c.b)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestBound(t *testing.T) {
	for name, c := range map[string]struct {
		use  Use
		want string
	}{
		"at rest":                      {Use{Server: 0.3, Load: 0.3, Busy: 0.4, ServerCPUs: 1, LoadCPUs: 1}, BoundRate},
		"server":                       {Use{Server: 0.95, Load: 0.95, Busy: 0.95, ServerCPUs: 1, LoadCPUs: 1}, BoundServer},
		"server with more CPUs":        {Use{Server: 0.95, ServerCPUs: 2, LoadCPUs: 1}, BoundRate},
		"busy load process":            {Use{Server: 0.5, Load: 0.5, Busy: 0.95, ServerCPUs: 1, LoadCPUs: 2}, BoundLoad},
		"load's CPU, Redis on it":      {Use{Server: 0.5, Load: 0.4, Redis: 0.3, Compare: 0.25, ServerCPUs: 1, LoadCPUs: 1}, BoundLoad},
		"load's CPU, Redis apart":      {Use{Server: 0.5, Load: 0.4, Redis: 0.3, Compare: 0.25, ServerCPUs: 2, LoadCPUs: 1, RedisApart: true}, BoundRate},
		"Redis":                        {Use{Server: 0.5, Load: 0.1, Redis: 0.95, ServerCPUs: 2, LoadCPUs: 1, RedisApart: true}, BoundRedis},
		"one CPU for all":              {Use{Server: 0.4, Load: 0.3, Redis: 0.25, ServerCPUs: 1, LoadCPUs: 1, Shared: true}, BoundShared},
		"others":                       {Use{Server: 0.4, Others: 0.2, ServerCPUs: 1, LoadCPUs: 1}, BoundOthers},
		"server, whatever others used": {Use{Server: 0.95, Others: 0.2, ServerCPUs: 1, LoadCPUs: 1}, BoundServer},
		"publisher":                    {Use{Lag: 0.2, ServerCPUs: 1, LoadCPUs: 1}, BoundPublish},
	} {
		if got := c.use.Bound(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestInspect(t *testing.T) {
	for name, c := range map[string]struct {
		expected int64
		counters load.Counters
		lossy    bool
		want     []string
	}{
		"whole":               {10, load.Counters{Delivered: 10}, false, nil},
		"never came":          {10, load.Counters{Delivered: 8}, false, []string{"2 of 10 lost"}},
		"holes":               {10, load.Counters{Delivered: 10, Lost: 3}, false, []string{"3 of 10 lost"}},
		"by nature":           {0, load.Counters{Delivered: 10, Lost: 3}, true, nil},
		"by nature, not that": {0, load.Counters{Delivered: 10, Lost: 3, Duplicated: 1}, true, []string{"1 of 10 duplicated"}},
		"all of it": {10, load.Counters{Delivered: 10, Duplicated: 1, Reordered: 2, Misrouted: 3, Early: 4, Unknown: 5}, false, []string{
			"1 of 10 duplicated", "2 of 10 reordered", "3 of 10 delivered to the wrong channel",
			"4 of 10 delivered before the subscription was confirmed", "5 of 10 not understood",
		}},
	} {
		s := Sample{Expected: c.expected, Counters: c.counters}
		s.Inspect(c.lossy)
		if !reflect.DeepEqual(s.Flaws, c.want) || s.Sound() != (c.want == nil) {
			t.Errorf("%s: %q, want %q", name, s.Flaws, c.want)
		}
	}
}

func write(t *testing.T, samples ...Sample) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "deep", "results")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	m := Manifest{Variants: []Variant{{Name: "a"}, {Name: "b"}, {Name: "idle"}}, Scenarios: []Scenario{{Name: "second"}, {Name: "first"}}, Done: 1}
	if err := errors.Join(w.Append(samples), w.Manifest(&Manifest{Partial: "not done"}), w.Manifest(&m), w.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFolder(t *testing.T) {
	samples := []Sample{
		{Variant: "b", Scenario: "first", X: 2, Point: "two", Values: map[string]float64{DeliveryCPU: 3}},
		{Variant: "a", Scenario: "first", X: 1, Point: "one", Values: map[string]float64{DeliveryCPU: 1, "own": 5}},
		{Variant: "a", Scenario: "first", X: 1, Point: "one", Values: map[string]float64{DeliveryCPU: 2}, Flaws: []string{"1 of 2 lost"}},
		{Variant: "a", Scenario: "second", Values: map[string]float64{P99: 1}},
	}
	path := write(t, samples...)
	f, err := Read(path)
	if err != nil || !reflect.DeepEqual(f.Samples, samples) || f.Manifest.Partial != "" {
		t.Fatalf("%+v, %v", f, err)
	}
	if got := f.VariantNames(); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("variants %q", got)
	}
	var names []string
	points := f.Points()
	for _, p := range points {
		names = append(names, p.Scenario+" "+p.Name)
	}
	if strings.Join(names, ",") != "second ,first one,first two" {
		t.Fatalf("points %q", names)
	}
	if g := points[1].Figure("a", DeliveryCPU); g.Median != 1.5 || g.Unsound != 1 {
		t.Errorf("figure %+v", g)
	}
	if m := points[1].Metrics(); len(m) != 2 || m[0].ID != DeliveryCPU || m[1].ID != "own" || !m[1].Plain {
		t.Errorf("metrics %+v", m)
	}
	if _, err := Create(path); !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), "holds results already") {
		t.Errorf("over another: %v", err)
	}
}

func TestFolderCutShort(t *testing.T) {
	path := write(t, Sample{Variant: "a", Scenario: "first"}, Sample{Variant: "a", Scenario: "first"})
	file := filepath.Join(path, SamplesFile)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b[:len(b)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := Read(path); err != nil || len(f.Samples) != 1 || f.Manifest.Partial == "" {
		t.Errorf("%+v, %v", f, err)
	}
	for _, c := range []struct {
		want  string
		spoil func() error
	}{
		{"line 1", func() error { return os.WriteFile(file, []byte("{]\n"), 0o600) }},
		{"no run was finished", func() error { return os.WriteFile(file, nil, 0o600) }},
		{"no such file", func() error { return os.Remove(file) }},
		{"unexpected end", func() error { return os.WriteFile(filepath.Join(path, ManifestFile), []byte("["), 0o600) }},
		{"no manifest.json", func() error { return os.Remove(filepath.Join(path, ManifestFile)) }},
	} {
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	for path, kept := range map[string]bool{filepath.Join(dir, "new"): false, dir: true} {
		if kept {
			if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Manifest(&Manifest{}), w.Discard()); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(path)
		if kept && (err != nil || len(left) != 1) || !kept && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, %v", path, left, err)
		}
	}
}

func TestEveryMetricIsThereOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Metrics {
		if seen[m.ID] || m.ID == "" || m.Name == "" {
			t.Errorf("%+v", m)
		}
		seen[m.ID] = true
	}
}

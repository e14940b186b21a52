package anchor

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBuildFloorSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	source := dir + "/broken.c"
	if err := os.WriteFile(source, []byte("int main( {"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := BuildFloor(t.Context(), dir, source); !errors.Is(err, ErrCompiler) || !strings.Contains(err.Error(), "broken.c") {
		t.Errorf("got %v", err)
	}
	t.Setenv("PATH", dir)
	if _, err := BuildFloor(t.Context(), dir, ""); !errors.Is(err, ErrCompiler) || !strings.Contains(err.Error(), "install") {
		t.Errorf("without a compiler: %v", err)
	}
}

func TestOptions(t *testing.T) {
	good := Options{Repeats: 1, LoadCPU: 1, Log: slog.New(slog.DiscardHandler)}
	for name, spoil := range map[string]func(*Options){
		"repeats":  func(o *Options) { o.Repeats = 0 },
		"scenario": func(o *Options) { o.Only = []string{"fly"} },
		"CPU":      func(o *Options) { o.LoadCPU = 0 },
		"setting":  func(o *Options) { o.Env = []string{"MODE"} },
	} {
		o := good
		spoil(&o)
		if err := Run(context.Background(), o, nil); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
		shown  string
	}{
		{[]float64{3, 1, 2}, spread{2, 1, 3}, "2.00 (1.00 to 3.00)"},
		{[]float64{40, 10}, spread{25, 10, 40}, "25.0 (10.0 to 40.0)"},
		{[]float64{0.0512}, spread{0.0512, 0.0512, 0.0512}, "0.051"},
		{[]float64{27569}, spread{27569, 27569, 27569}, "27569"},
	} {
		if got := spreadOf(c.values); got != c.want || got.String() != c.shown {
			t.Errorf("%v: %+v %q, want %+v %q", c.values, got, got, c.want, c.shown)
		}
	}
	if got := spreadOf(nil); !math.IsNaN(got.median) || got.String() != "-" {
		t.Errorf("of nothing: %v", got)
	}
}

func TestTable(t *testing.T) {
	us := func(v ...float64) (runs []sample) {
		for _, x := range v {
			runs = append(runs, sample{cpu: x * 1000})
		}
		return runs
	}
	all := samples{
		Low:    {us(10, 20), us(12, 12), us(10.5, 21)},
		Burst:  {us(2, 2), us(1, 1), us(0.2, 0.2)},
		Many:   {us(20, 35), us(20, 40), us(20, 70)},
		Growth: {{{cpuGrowth: 1}}, {{cpuGrowth: 2}}, {{cpuGrowth: 1.2, firstHalf: 200, secondHalf: 210}}},
		Idle:   {{{bytes: 8, cpu: 10000}, {bytes: 8, cpu: 10000}}, nil, {{bytes: 200, cpu: 12000}, {bytes: 220, cpu: 12000, others: 0.5}}},
	}
	all[Burst][2][0].flaws = []string{"1 of 2 delivered"}
	var out bytes.Buffer
	writeTable(&out, Options{Name: "optimized", Repeats: 2, Goals: true, Peers: []Peer{{Name: "other"}}}, all)
	rows := map[string][]string{}
	for line := range strings.Lines(out.String()) {
		if cells := strings.Split(line, "│"); len(cells) == 14 {
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows[cells[1]] = cells[2:13]
		}
	}
	for title, want := range map[string]string{
		"idle connection, one channel":        "B|8.00|-|-|210 (200 to 220)|-|400 B|yes||1 of 4|more than floor",
		"connect + subscribe":                 "us|10.0|-|-|12.0|1.20|1.40|yes||1 of 4|more than floor",
		"delivery, low rate":                  "us|15.0 (10.0 to 20.0)|12.0|0.900 (0.600 to 1.20)|15.8 (10.5 to 21.0)|1.05|1.08|yes|||no",
		"delivery, burst":                     "us|2.00|1.00|0.500|0.200|0.100|0.050|-|1 of 6||not judged",
		"message, a channel each (*)":         "us|15.0 (10.0 to 20.0)|30.0 (20.0 to 40.0)|2.00|45.0 (20.0 to 70.0)|2.75 (2.00 to 3.50)|3.00|yes|||no",
		"the same, against a woken floor (*)": "us|27.5 (20.0 to 35.0)|30.0 (20.0 to 40.0)|1.07 (1.00 to 1.14)|45.0 (20.0 to 70.0)|1.50 (1.00 to 2.00)|||||no",
		"idle connection, 9.5 k to 18 k":      "B|0.000|0.000|-|210|-|400 B|yes|||unknown",
		"delivery, 18 k against 1 k":          "|1.00|2.00|2.00|1.20|1.20|1.10|no|||unknown",
	} {
		if got := strings.Join(rows[title], "|"); got != want {
			t.Errorf("%s: %s\nwant %s", title, got, want)
		}
	}
	var narrow bytes.Buffer
	writeTable(&narrow, Options{Name: "optimized", Repeats: 2, Goals: true, Peers: []Peer{{Name: "other"}}, Columns: 80}, all)
	for line := range strings.Lines(narrow.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns on a narrow terminal: %s", n, line)
		}
	}
	for _, want := range []string{"  other       12.0 us\n", "0.900 (0.600 to 1.20) x floor", "  goal        1.08\n  met         yes\n", "  flawed      1 of 6\n"} {
		if !strings.Contains(narrow.String(), want) {
			t.Errorf("on a narrow terminal there is no %q:\n%s", want, &narrow)
		}
	}
	if strings.Contains(out.String(), "a channel each  ") && rows["idle connection, a channel each"] != nil {
		t.Error("a scenario that was not run has a row")
	}
	if !strings.Contains(out.String(), "flawed: burst, optimized: 1 of 2 delivered") {
		t.Errorf("the flaw is not told:\n%s", out.String())
	}
}

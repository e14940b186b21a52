package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/scenario"
	"github.com/tandem-ws/tandem/compare/variant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func chosen(t *testing.T, scenarios string) Options {
	t.Helper()
	s, err := scenario.Choose(scenarios)
	if err != nil {
		t.Fatal(err)
	}
	external := variant.Variant{Name: "mine", External: &variant.External{PID: 1}}
	return Options{Variants: append(variant.Builtin()[1:], external), Scenarios: s, Profile: "tiny", Repeats: 2}
}

func TestPlan(t *testing.T) {
	o := chosen(t, "storm,redis-restart")
	p := makePlan(&o)
	var got []string
	for _, s := range p.steps {
		got = append(got, fmt.Sprintf("%s %s %d", s.scenario.Name, s.variant.Name, s.repeat))
	}
	want := []string{
		"storm idiomatic-tuned 1", "storm optimized 1", "storm mine 1",
		"redis-restart idiomatic-tuned 1", "redis-restart optimized 1",
		"storm mine 2", "storm optimized 2", "storm idiomatic-tuned 2",
		"redis-restart optimized 2", "redis-restart idiomatic-tuned 2",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
	if len(p.skipped) != 1 || p.skipped[0].Variant != "mine" || p.skipped[0].Scenario != "redis-restart" || p.skipped[0].Why == "" {
		t.Errorf("skipped %+v", p.skipped)
	}
	var sum time.Duration
	for _, s := range p.steps {
		if s.takes <= 0 {
			t.Errorf("%v takes %v", s, s.takes)
		}
		sum += s.takes
	}
	if p.takes() != sum {
		t.Errorf("takes %v, want %v", p.takes(), sum)
	}
}

func TestRound(t *testing.T) {
	o := chosen(t, "storm,idle")
	p := makePlan(&o)
	if got, want := p.round(3), p.steps[3].takes+p.steps[4].takes+p.steps[5].takes; got != want || p.steps[3].scenario.Name != "idle" {
		t.Errorf("%v, want %v", got, want)
	}
	for i, want := range []bool{true, false, false, true, false, false, true} {
		if p.begins(i) != want {
			t.Errorf("step %d begins a scenario: %v", i, !want)
		}
	}
	one := chosen(t, "storm")
	if p := makePlan(&one); !p.begins(3) {
		t.Error("the second repeat of the only scenario begins nothing")
	}
	if got, want := p.round(10), p.steps[10].takes+p.steps[11].takes; got != want {
		t.Errorf("at the end: %v, want %v", got, want)
	}
}

func TestFullProfileFits(t *testing.T) {
	o := chosen(t, "")
	o.Variants, o.Profile, o.Repeats = variant.Builtin(), "full", 0
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	if p := makePlan(&o); o.Repeats < 5 || p.takes() > 35*time.Minute {
		t.Errorf("%d repeats take %v", o.Repeats, p.takes())
	}
}

func TestOptions(t *testing.T) {
	for want, spoil := range map[string]func(*Options){
		"profile":          func(o *Options) { o.Profile = "huge" },
		"repeats":          func(o *Options) { o.Repeats = -1 },
		"nothing":          func(o *Options) { o.Variants = nil },
		"bytes":            func(o *Options) { o.Override.Bytes = 10 },
		"windows":          func(o *Options) { o.Override.Measure = time.Hour },
		"ascending":        func(o *Options) { o.Override.Connections = []int{20, 10} },
		"twice":            func(o *Options) { o.Override.Connections = []int{20, 20} },
		"from 1 to":        func(o *Options) { o.Override.Connections = []int{0, 20} },
		"server processes": func(o *Options) { o.Override.Connections = []int{5_000_000}; o.fileLimit = 20_000 },
		"descriptors":      func(o *Options) { o.fileLimit = 1024 },
	} {
		o := chosen(t, "idle")
		o.Variants = variant.Builtin()
		spoil(&o)
		_, err := Run(context.Background(), o)
		if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestKeysAreNotWrittenDown(t *testing.T) {
	args := []string{"-variant", "c=ws://h:1,pid=2,api=http://h/p,key=tell,internal=http://h:3", "-variant", "d=ws://h:1,key=nobody", "-v"}
	got := quote(hideKeys(args))
	if strings.Contains(got, "tell") || strings.Contains(got, "nobody") || !strings.Contains(got, ",internal=http://h:3") {
		t.Errorf("got %s", got)
	}
	if got := quote([]string{"-variant", "a=B=it's $x"}); got != `-variant 'a=B=it'\''s $x'` {
		t.Errorf("got %s", got)
	}
}

func TestProgressLines(t *testing.T) {
	o := chosen(t, "storm")
	p := makePlan(&o)
	var said bytes.Buffer
	g := newProgress(&said, false, p)
	for _, s := range p.steps {
		g.begin(s)
		g.end(s)
	}
	g.remark("that is %s", "all")
	g.close()
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	if len(lines) != len(p.steps)+1 || !strings.HasPrefix(lines[0], "1/6  ") || !strings.Contains(lines[0], "left  storm, idiomatic-tuned, repeat 1") || lines[6] != "that is all" {
		t.Errorf("got %q", lines)
	}
	if g.left() != 0 { // nobody draws any more
		t.Errorf("left in the end: %v", g.left())
	}
}

func TestProgressBar(t *testing.T) {
	o := chosen(t, "storm")
	p := makePlan(&o)
	var said bytes.Buffer
	g := newProgress(&said, true, p)
	for _, s := range p.steps[:3] {
		g.begin(s)
		g.end(s)
	}
	g.remark("not sound")
	g.begin(p.steps[3])
	g.close()
	for _, want := range []string{"1/6", "left", "storm, mine, repeat 1", "not sound\n", "4/6", "50%"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("no %q in %q", want, said.String())
		}
	}
}

func TestVerdict(t *testing.T) {
	boom := errors.New("boom")
	ended, end := context.WithCancel(context.Background())
	end()
	for want, c := range map[string]struct {
		ctx    context.Context
		first  error
		row    int
		failed int
	}{
		"":                                     {context.Background(), nil, 0, 0},
		"interrupted: 3 of 9":                  {ended, nil, 0, 0},
		"stopped after 3 consecutive failures": {context.Background(), boom, tooMany, 3},
		"1 of 9 runs failed: boom":             {context.Background(), boom, 0, 1},
		"the results could not be written: 3 of ": {context.Background(), boom, 0, 0},
	} {
		var s measurement
		s.manifest.Planned, s.manifest.Done = 9, 3
		s.manifest.Failed = append(s.manifest.Failed, make([]result.Failed, c.failed)...)
		err := s.verdict(c.ctx, c.first, c.row)
		if want == "" {
			if err != nil || s.manifest.Partial != "" {
				t.Errorf("all well: %v, %q", err, s.manifest.Partial)
			}
			continue
		}
		if !errors.Is(err, ErrPartial) || !strings.Contains(err.Error(), want) || s.manifest.Partial == "" {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestCommitWithoutGit(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if got := commit(context.Background()); got != "" {
		t.Errorf("commit without git: %q", got)
	}
}

func TestSettingsOf(t *testing.T) {
	program := filepath.Join(t.TempDir(), "server")
	script := "#!/bin/sh\necho 'some text, API of it'\necho\necho 'MODE  idiomatic  which engine'\necho 'SEND_QUEUE  512  messages'\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := settingsOf(context.Background(), program)
	if err != nil || strings.Join(got, " ") != "MODE SEND_QUEUE" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := settingsOf(context.Background(), "/bin/false"); !errors.Is(err, ErrOptions) {
		t.Errorf("of what is no server: %v", err)
	}
}

func TestHost(t *testing.T) {
	h, limits := host()
	if h.Kernel == "" || h.CPUs < 1 || h.Memory == 0 || limits.Files == 0 || limits.Settings["net.core.somaxconn"] == "" {
		t.Errorf("%+v, %+v", h, limits)
	}
}

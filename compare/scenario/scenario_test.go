package scenario

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/result"
	"github.com/tandem-ws/tandem/compare/testbed"
)

func TestEveryScenarioSaysWhatItShows(t *testing.T) {
	for _, s := range All() {
		if s.Name == "" || s.Title == "" || len(s.Shows) < 60 {
			t.Errorf("%+v", s)
		}
		for _, profile := range Profiles {
			size := s.Size(profile, Override{})
			if len(size.Connections) == 0 || size.Bytes < 96 || s.Takes(size) <= 0 || s.Describe(size) == "" {
				t.Errorf("%s, %s: %+v", s.Name, profile, size)
			}
			if testbed.Processes(s.Most(size), 20_000) != 1 {
				t.Errorf("%s, %s: %d connections do not fit 20,000 descriptors", s.Name, profile, s.Most(size))
			}
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct{ list, want string }{
		{"", "idle storm broadcast burst channels publish churn frozen redis-restart ledger"},
		{" burst,idle", "burst idle"},
		{"fly", `"fly" is unknown: use idle, storm`},
		{"idle,", `"" is unknown`},
		{"idle,idle", `"idle" is named twice`},
	} {
		chosen, err := Choose(c.list)
		if err != nil {
			if !errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v", c.list, err)
			}
			continue
		}
		var names []string
		for _, s := range chosen {
			names = append(names, s.Name)
		}
		if strings.Join(names, " ") != c.want {
			t.Errorf("%q: %q", c.list, names)
		}
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		scenario Scenario
		override Override
		want     []int
	}{
		{idle, Override{}, []int{50, 200}},
		{idle, Override{Connections: []int{10, 20, 30}}, []int{10, 20, 30}},
		{idle, Override{Connections: []int{500}}, []int{50, 500}}, // a slope takes two
		{ledger, Override{Connections: []int{5}}, []int{1, 5}},
		{storm, Override{Connections: []int{10, 20, 30}}, []int{30}},
	} {
		if got := c.scenario.Size("tiny", c.override); !reflect.DeepEqual(got.Connections, c.want) {
			t.Errorf("%s %+v: %v, want %v", c.scenario.Name, c.override, got.Connections, c.want)
		}
	}
	size := broadcast.Size("tiny", Override{Bytes: 500, Measure: time.Minute})
	if size.Bytes != 500 || size.Measure != time.Minute || broadcast.Takes(size) < time.Minute {
		t.Errorf("%+v", size)
	}
	if size := storm.Size("tiny", Override{Measure: time.Minute}); size.Measure != 0 {
		t.Errorf("a storm has no window: %+v", size)
	}
}

func TestItemOf(t *testing.T) {
	const i = "github.com/tandem-ws/tandem/modes/idiomatic."
	for _, c := range []struct {
		stack string
		size  int64
		want  string
	}{
		{"bufio.NewReaderSize github.com/gorilla/websocket.newConn " + i + "(*Engine).upgrade", 4096, result.LedgerRead},
		{"github.com/gorilla/websocket.newConn github.com/gorilla/websocket.(*Upgrader).Upgrade", 4096, result.LedgerWrite},
		{"github.com/gorilla/websocket.newConn github.com/gorilla/websocket.(*Upgrader).Upgrade", 384, result.LedgerRecord},
		{i + "newQueue@queue.go " + i + "newConnection@connection.go", 4864, result.LedgerQueue},
		{i + "newConnection " + i + "(*Engine).serve", 512, result.LedgerRecord},
		{"github.com/tandem-ws/tandem/modes/protocol/session.New " + i + "newConnection", 64, result.LedgerSession},
		{i + "(*hub).join@hub.go " + i + "(*connection).subscribe", 64, result.LedgerSession},
		{i + "(*anything).add@subscribers.go " + i + "(*connection).serve@connection.go", 64, result.LedgerSession},
		{i + "(*listener).Accept@listener.go net/http.(*Server).Serve", 64, result.LedgerNet},
		{"encoding/json.Marshal@queue.go", 64, result.LedgerOther},
		{"net.newFD net.(*netFD).accept", 200, result.LedgerNet},
		{"net/http.(*conn).readRequest net/http.(*conn).serve", 300, result.LedgerHTTP},
		{"runtime.malg runtime.newproc1", 400, result.LedgerStacks},
		{"github.com/tandem-ws/tandem/modes/optimized.(*slab).take", 60000, result.LedgerRecord},
		{"bufio.NewReaderSize github.com/redis/go-redis/v9.newConn", 32768, result.LedgerOther},
		{"main.main", 10, result.LedgerOther},
	} {
		var stack []call
		for s := range strings.FieldsSeq(c.stack) {
			function, file, _ := strings.Cut(s, "@")
			stack = append(stack, call{function, file})
		}
		if got := itemOf(stack, c.size); got != c.want {
			t.Errorf("%s of %d bytes: %s, want %s", c.stack, c.size, got, c.want)
		}
	}
}

func TestItemize(t *testing.T) {
	at := func(name string) *profile.Location {
		return &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}}
	}
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "inuse_objects"}, {Type: "inuse_space"}},
		Sample: []*profile.Sample{
			{Location: []*profile.Location{at("bufio.NewReaderSize")}, Value: []int64{2, 8192}, NumLabel: map[string][]int64{"bytes": {4096}}},
			{Location: []*profile.Location{at("bufio.NewReader")}, Value: []int64{1, 4096}},
			{Location: []*profile.Location{at("main.main")}, Value: []int64{1, 5}},
		},
	}
	items, err := itemize(p)
	if want := map[string]float64{result.LedgerRead: 12288, result.LedgerOther: 5}; err != nil || !reflect.DeepEqual(items, want) {
		t.Errorf("%v, %v", items, err)
	}
	p.SampleType[1].Type = "alloc_space"
	if _, err := itemize(p); err == nil {
		t.Error("took a profile of something else")
	}
}

// positions are 100 and 300 connections on two nodes.
func positions() (from, to position) {
	from = position{
		reading: reading{n: 100, memory: process.Memory{PSS: 1000}, told: true, runtime: testbed.Runtime{Runtime: process.Runtime{Stacks: 100}}, kernel: testbed.Kernel{Slab: 1000, Buffers: 500}},
		heap:    map[string]float64{result.LedgerRead: 100},
	}
	to = position{
		reading: reading{n: 300, memory: process.Memory{PSS: 9000}, told: true, runtime: testbed.Runtime{Runtime: process.Runtime{Stacks: 2100}}, kernel: testbed.Kernel{Slab: 5000, Buffers: 700}},
		heap:    map[string]float64{result.LedgerRead: 1100},
	}
	return from, to
}

func TestLedgerAddsUp(t *testing.T) {
	from, to := positions()
	values := map[string]float64{}
	enter(values, from, to, 2)
	for id, want := range map[string]float64{
		result.LedgerTotal: 40, result.LedgerStacks: 10, result.LedgerRead: 10, result.LedgerHeadroom: 20, result.LedgerKernel: 10.5,
	} {
		if values[id] != want {
			t.Errorf("%s: %g, want %g", id, values[id], want)
		}
	}
	sum := 0.0
	for id, v := range values {
		if id != result.LedgerTotal && id != result.LedgerKernel {
			sum += v
		}
	}
	if sum != values[result.LedgerTotal] {
		t.Errorf("the items add up to %g: %v", sum, values)
	}
	// a server that tells nothing of itself
	to.told, to.heap = false, nil
	values = map[string]float64{}
	if enter(values, from, to, 1); len(values) != 2 || values[result.LedgerTotal] != 40 {
		t.Errorf("%v", values)
	}
}

func TestSlope(t *testing.T) {
	from, to := positions()
	values := map[string]float64{}
	slope(values, from.reading, to.reading)
	for id, want := range map[string]float64{result.PerConnection: 40, result.Stacks: 10, result.Heap: 0, result.Kernel: 21} {
		if values[id] != want {
			t.Errorf("%s: %g, want %g", id, values[id], want)
		}
	}
	to.kernel.Slab = 0
	if slope(values, from.reading, to.reading); !math.IsNaN(values[result.Kernel]) {
		t.Errorf("kernel's memory is not known, but %g", values[result.Kernel])
	}
}

func TestKeepLeavesOutWhatIsNoNumber(t *testing.T) {
	b := bench{scenario: broadcast}
	s := b.sample("p", 1, testbed.Measured{Counters: load.Counters{Delivered: 1}})
	s.Expected = 2
	s.Values[result.P50], s.Values[result.P99], s.Values[result.Max] = 1, math.NaN(), math.Inf(1)
	b.keep(s)
	if kept := b.samples[0]; len(kept.Values) != 1 || kept.Sound() {
		t.Errorf("%+v", kept)
	}
	if v := microsPer(testbed.Measured{ServerCPU: time.Millisecond}, 4); v != 250 {
		t.Errorf("%g us", v)
	}
	if v := microsPer(testbed.Measured{ServerCPU: time.Millisecond}, 0); !math.IsNaN(v) {
		t.Errorf("%g us for none", v)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{1: "1", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

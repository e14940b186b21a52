package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/goleak"

	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/variant"
	"github.com/tandem-ws/tandem/compare/workload"
)

func TestMain(m *testing.M) {
	if os.Getenv("FAKE_SERVER") != "" {
		fakeServer()
		return
	}
	goleak.VerifyTestMain(m)
}

// fakeServer listens as a server does, and has no more than metrics to offer.
func fakeServer() {
	l, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err == nil {
		// l is held until the process ends
		err = http.ListenAndServe(os.Getenv("INTERNAL_ADDR"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, os.Getenv("FAKE_SERVER"))
		}))
	}
	fmt.Fprintln(os.Stderr, "fake:", l, err)
	os.Exit(1)
}

func fake(t *testing.T, metrics string) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Variant: variant.Variant{Name: "fake"}, Server: self, Env: []string{"FAKE_SERVER=" + metrics}}
}

func client(t *testing.T) *http.Client {
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestServerThatCannotBeStarted(t *testing.T) {
	o := fake(t, "ready")
	o.Server = "/nonexistent/server"
	if _, err := startNode(context.Background(), o, ""); !errors.Is(err, ErrRun) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o = fake(t, "ready")
	o.Server = "/bin/cat" // reads its input, and does nothing else
	if _, err := startNode(ctx, o, ""); err == nil {
		t.Error("got ready")
	}
}

func TestRuntime(t *testing.T) {
	const goMetrics = "go_goroutines 7\ngo_memstats_heap_inuse_bytes 100\ngo_memstats_stack_inuse_bytes 50\n"
	const tandem = "tandem_subscriptions 3\n"
	const slow = "# TYPE tandem_disconnects_total counter\ntandem_disconnects_total{reason=\"slow\"} 4\ntandem_disconnects_total{reason=\"eof\"} 9\n"
	for metrics, want := range map[string]float64{
		goMetrics:                 math.NaN(), // another server: nothing is known
		goMetrics + tandem:        0,
		goMetrics + tandem + slow: 4,
	} {
		n, err := startNode(context.Background(), fake(t, metrics), "")
		if err != nil {
			t.Fatal(err)
		}
		r := Testbed{nodes: []*node{n}, client: client(t), ctx: context.Background()}
		got, ok, err := r.Runtime()
		if err != nil || !ok || got.Goroutines != 7 || got.Heap != 100 || got.Stacks != 50 ||
			got.Disconnects != want && !(math.IsNaN(want) && math.IsNaN(got.Disconnects)) {
			t.Errorf("%q: %+v, %v, %v", metrics, got, ok, err)
		}
		if err := n.process.Stop(0); err != nil {
			t.Error(err)
		}
		if _, _, err := r.Runtime(); !errors.Is(err, ErrRun) {
			t.Errorf("of a server that is gone: %v", err)
		}
	}
	r := Testbed{nodes: []*node{{}}}
	if _, ok, err := r.Runtime(); ok || err != nil {
		t.Errorf("of a server that tells nothing: %v, %v", ok, err)
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		cpus                []int
		server, load, redis []int
	}{
		{[]int{3}, nil, nil, nil},
		{[]int{0, 1}, []int{0}, []int{1}, []int{1}},
		{[]int{4, 5, 6}, []int{4}, []int{5, 6}, []int{5, 6}},
		{[]int{0, 1, 2, 3}, []int{0, 1}, []int{2}, []int{3}},
		{[]int{0, 1, 2, 3, 4, 5, 6, 7}, []int{0, 1, 2, 3}, []int{4, 5, 6}, []int{7}},
	} {
		p, told := Place(c.cpus)
		if !slices.Equal(p.Server, c.server) || !slices.Equal(p.Load, c.load) || !slices.Equal(p.Redis, c.redis) || told.Says == "" {
			t.Errorf("%v: %+v, %q", c.cpus, p, told.Says)
		}
	}
}

func TestHowManyProcesses(t *testing.T) {
	for _, c := range []struct {
		connections int
		limit       uint64
		want        int
	}{
		{0, 20_000, 1}, {19_000, 20_000, 1}, {19_001, 20_000, 2}, {100_000, 20_000, 6}, {100_000, 1 << 62, 1}, {5, 10, 5},
	} {
		if got := Processes(c.connections, c.limit); got != c.want {
			t.Errorf("%d connections, %d descriptors: %d, want %d", c.connections, c.limit, got, c.want)
		}
	}
	for _, c := range []struct{ nodes, least, cpus, want int }{
		{1, 1, 0, 1}, {1, 1, 1, 1}, {1, 1, 3, 3}, {1, 2, 1, 2}, {2, 2, 1, 2}, {2, 2, 3, 4}, {3, 3, 1, 3},
	} {
		if got := loads(c.nodes, c.least, c.cpus); got != c.want {
			t.Errorf("%+v: %d load processes", c, got)
		}
	}
}

func TestReasons(t *testing.T) {
	if got := reasons(map[string]uint64{"timeout": 2, "refused": 1}); got != "refused (1), timeout (2)" {
		t.Errorf("got %q", got)
	}
	if got := reasons(nil); !strings.Contains(got, "closed by the server") {
		t.Errorf("got %q", got)
	}
}

func TestMinus(t *testing.T) {
	h := hdrhistogram.New(1000, 120e9, 3)
	if err := h.RecordValues(5000, 3); err != nil {
		t.Fatal(err)
	}
	before, err := encode(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.RecordValues(5000, 1), h.RecordValues(9_000_000, 2)); err != nil {
		t.Fatal(err)
	}
	all, err := encode(h)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := minus(all, before)
	if err != nil {
		t.Fatal(err)
	}
	d, err := rest.Decode()
	if err != nil || d.TotalCount() != 3 || d.ValueAtQuantile(30) > 6000 || d.ValueAtQuantile(50) < 8_900_000 {
		t.Errorf("%d values, %v", d.TotalCount(), err)
	}
	if sum, err := merged(nil); err != nil {
		t.Error(err)
	} else if d, err := sum.Decode(); err != nil || d.TotalCount() != 0 {
		t.Errorf("of nothing: %v, %v", d, err)
	}
}

func TestReadKernel(t *testing.T) {
	if k, err := ReadKernel(); err != nil || k.Slab == 0 {
		t.Errorf("%+v, %v", k, err)
	}
}

// published is what a publish API has received.
type published struct {
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
}

func TestHTTPPublisher(t *testing.T) {
	var got []published
	answer := "{}"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var p published
		if err := errors.Join(err, json.Unmarshal(body, &p)); err != nil || r.Header.Get("X-API-Key") != "k" {
			t.Errorf("%s, %v, %v", body, r.Header, err)
		}
		got = append(got, p)
		fmt.Fprint(w, answer)
	}))
	defer s.Close()
	p := newHTTPPublisher(&variant.External{API: s.URL, Key: "k", Prefix: "p:"}, "c-%d", 2, []uint32{4, 0})
	defer p.Close()
	r, err := p.Publish(context.Background(), workload.Plan{Rate: 1000, Duration: 5 * time.Millisecond, Size: 128})
	if err != nil || r.Sent != 5 || r.Bytes != 5*128 {
		t.Fatalf("%+v, %v", r, err)
	}
	if sent := p.Sent(); !reflect.DeepEqual(sent, []uint32{7, 2}) {
		t.Errorf("sent %v", sent)
	}
	began := r.Began.UnixNano()
	for i, g := range got {
		m, ok := workload.ParseMessage(g.Data, 0)
		if !ok || len(g.Data) != 128 || g.Channel != fmt.Sprintf("p:c-%d", i%2) || m.Channel != uint32(i%2) || m.Time != began+int64(i)*1e6 {
			t.Errorf("%d: %s %+v", i, g.Channel, m)
		}
	}
	answer = `{"error":{"code":102,"message":"unknown channel"}}`
	if _, err := p.Publish(context.Background(), workload.Plan{Count: 1, Size: 128}); !errors.Is(err, ErrRun) || !strings.Contains(err.Error(), "unknown channel") {
		t.Errorf("refused: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := p.Publish(ctx, workload.Plan{Rate: 0.1, Count: 2, Size: 128}); err != nil && !errors.Is(err, context.Canceled) || r.Sent > 1 {
		t.Errorf("at the end of ctx: %+v, %v", r, err)
	}
	s.Close()
	if _, err := p.Publish(context.Background(), workload.Plan{Count: 1, Size: 128}); !errors.Is(err, ErrRun) {
		t.Errorf("API gone: %v", err)
	}
}

func TestStartSaysWhichProcessFailed(t *testing.T) {
	o := fake(t, "ready")
	o.Server, o.Connections, o.Stderr = "/bin/false", 1, new(bytes.Buffer)
	r, err := Start(context.Background(), o)
	if r != nil || !errors.Is(err, process.ErrDied) || !strings.Contains(err.Error(), "server (fake)") {
		t.Errorf("%v, %v", r, err)
	}
}

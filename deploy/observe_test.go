package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/redisserver"
)

// dashboard is what of a Grafana dashboard is checked.
type dashboard struct {
	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	Panels        []struct {
		ID          int `json:"id"`
		Type, Title string
		GridPos     *struct{ H, W, X, Y int } `json:"gridPos"`
		Datasource  source                    `json:"datasource"`
		Targets     []struct {
			RefID      string `json:"refId"`
			Expr       string `json:"expr"`
			Legend     string `json:"legendFormat"`
			Datasource source `json:"datasource"`
		} `json:"targets"`
	} `json:"panels"`
}

type source struct{ Type, UID string }

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile("grafana/dashboards/tandem.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboard checks what Grafana requires: identity, a schema that it knows,
// panels with places of their own that do not overlap, and queries to the data
// source that is provisioned.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	if d.UID == "" || len(d.UID) > 40 || d.Title == "" || d.SchemaVersion < 36 {
		t.Errorf("uid %q, title %q, schemaVersion %d", d.UID, d.Title, d.SchemaVersion)
	}
	provisioned, err := os.ReadFile("grafana/provisioning/datasources/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" || p.GridPos == nil {
			t.Fatalf("panel %q: id %d, place %v", p.Title, p.ID, p.GridPos)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("panel %q lies outside or over %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Type != "timeseries" || len(p.Targets) == 0 {
			t.Errorf("panel %q: type %q with %d queries", p.Title, p.Type, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			for _, s := range []source{p.Datasource, q.Datasource} {
				if s.Type != "prometheus" || !strings.Contains(string(provisioned), "uid: "+s.UID+"\n") {
					t.Errorf("panel %q asks data source %+v, which is not provisioned", p.Title, s)
				}
			}
			if q.RefID == "" || refs[q.RefID] || q.Legend == "" {
				t.Errorf("panel %q: query %q, legend %q", p.Title, q.RefID, q.Legend)
			}
			refs[q.RefID] = true
		}
	}
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: make test-deps installs it (Debian's package prometheus)", name)
	}
	return path
}

// TestAlerts has promtool try every alert rule on series that it is for, and on
// those of a healthy node.
func TestAlerts(t *testing.T) {
	out, err := exec.Command(program(t, "promtool"), "test", "rules", "prometheus/alerts_test.yml").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rules, err := os.ReadFile("prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rules)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), "alert: "); ok && strings.Count(string(tests), "alertname: "+name) < 2 {
			t.Errorf("%s is not tested both ways", name)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func start(t *testing.T, s process.Spec) *process.Process {
	t.Helper()
	p, err := process.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(5 * time.Second) })
	return p
}

func build(t *testing.T, dir, name, folder string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if out, err := exec.Command("go", "build", "-o", path, folder).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// TestDashboardsHaveData runs what docker compose --profile compare runs, as
// processes, with a real Prometheus and the very configuration it has there, and
// asks every query of every panel.
func TestDashboardsHaveData(t *testing.T) {
	prometheus := program(t, "prometheus")
	dir := t.TempDir()
	server, compare := build(t, dir, "tandem", ".."), build(t, dir, "compare", "../compare")
	redis, err := redisserver.Start(redisserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = redis.Stop(5 * time.Second) })

	at := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	addresses := map[string]string{} // by what prometheus.yml calls them
	drive := []string{"drive", "-redis=" + redis.URL(), "-connections=50", "-rate=20"}
	for _, mode := range []string{"idiomatic", "optimized"} {
		public, internal := at(freePort(t)), at(freePort(t))
		start(t, process.Spec{Name: mode, Path: server, Env: []string{
			"MODE=" + mode, "ADDR=" + public, "INTERNAL_ADDR=" + internal, "REDIS_URL=" + redis.URL(), "DRAIN_TIME=0s"}})
		addresses[mode+":9000"] = internal
		drive = append(drive, "-target="+mode+"="+public)
	}
	addresses["load:9100"] = at(freePort(t))
	start(t, process.Spec{Name: "load", Path: compare, Args: append(drive, "-metrics="+addresses["load:9100"])})
	addresses["localhost:9090"] = at(freePort(t))

	config, err := os.ReadFile("prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(config)
	for name, address := range addresses {
		if !strings.Contains(text, `"`+name+`"`) {
			t.Fatalf("prometheus.yml does not scrape %s", name)
		}
		text = strings.ReplaceAll(text, `"`+name+`"`, `"`+address+`"`)
	}
	rules, err := os.ReadFile("prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(text), 0o600),
		os.WriteFile(filepath.Join(dir, "alerts.yml"), rules, 0o600)); err != nil {
		t.Fatal(err)
	}
	watcher := start(t, process.Spec{Name: "prometheus", Path: prometheus, Args: []string{
		"--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=" + addresses["localhost:9090"], "--log.level=warn"}})

	// What is asked again until it has data; the limit is only there to fail.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, panel := range readDashboard(t).Panels {
		for _, q := range panel.Targets {
			want := []string{"idiomatic", "optimized"}
			switch {
			case strings.Contains(q.Expr, "tandem_loop_"):
				want = want[1:]
			case !strings.Contains(q.Legend, "mode"):
				want = []string{""}
			case strings.Contains(q.Expr, "dropped_frames"):
				continue // there are none, and a query of none is asked in TestAlerts
			}
			for {
				modes, err := ask(ctx, addresses["localhost:9090"], q.Expr)
				if err == nil && !slices.ContainsFunc(want, func(m string) bool { return !slices.Contains(modes, m) }) {
					break
				}
				select {
				case <-time.After(500 * time.Millisecond):
				case <-watcher.Done():
					t.Fatal(watcher.Died())
				case <-ctx.Done():
					t.Fatalf("panel %q: %s: has data of %q, want %q, %v", panel.Title, q.Expr, modes, want, err)
				}
			}
		}
	}
}

// ask returns the modes that a query has data of; the error is what Prometheus
// found wrong with it.
func ask(ctx context.Context, address, query string) (modes []string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("prometheus: %s", answer.Error)
	}
	for _, r := range answer.Data.Result {
		modes = append(modes, r.Metric["mode"])
	}
	return modes, nil
}

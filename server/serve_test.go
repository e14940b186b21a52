package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/tandem-ws/tandem/redisbus/redistest"
	"github.com/tandem-ws/tandem/server/api"
	"github.com/tandem-ws/tandem/server/version"
)

// eachMode runs a test against the server in every mode of this system, at the
// same time.
func eachMode(t *testing.T, test func(t *testing.T, mode string)) {
	for _, mode := range allModes() {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			test(t, "MODE="+mode)
		})
	}
}

// TestEmbedded is what a newcomer does: start, open the page, subscribe, and
// publish with the command that the log shows.
func TestEmbedded(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode, "CLIENT_PUBLISH=true")
		p.awaitReady(http.StatusOK, "ok")
		try := p.awaitLog("try it")
		if page := try["page"].(string); !strings.HasPrefix(page, "http://localhost:") {
			t.Errorf("the demo page is said to be at %s", page)
		}
		status, page := ask(t, http.MethodGet, "http://"+p.public+"/", nil, "")
		if want := `<b id="mode">` + strings.TrimPrefix(mode, "MODE="); status != http.StatusOK || !strings.Contains(page, want) {
			t.Errorf("the demo page: %d, without %q", status, want)
		}

		c := connect(t, p.public)
		c.subscribe("news")
		raw := dial(t, "ws://"+p.public+"/ws?channel=news", nil)

		var port int
		var command, payload string
		if _, err := fmt.Sscanf(try["publish"].(string), "redis-cli -p %d publish %s %s", &port, &command, &payload); err != nil {
			t.Fatalf("%q: %v", try["publish"], err)
		}
		client := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port)})
		defer func() { _ = client.Close() }()
		if err := client.Publish(context.Background(), command, strings.Trim(payload, "'")).Err(); err != nil {
			t.Fatal(err)
		}
		if channel, data := c.publication(); channel != "news" || data != `{"hello":"world"}` {
			t.Errorf("received %s on %s", data, channel)
		}
		_ = raw.SetReadDeadline(time.Now().Add(patience))
		if _, data, err := raw.ReadMessage(); err != nil || string(data) != `{"hello":"world"}` {
			t.Errorf("the raw endpoint received %q, %v", data, err)
		}
		if reply := c.call("publish", `{"channel":"news","data":{"from":"client"}}`); reply.Error != nil {
			t.Errorf("a client's publish: error %d", reply.Error.Code)
		}
		if _, data := c.publication(); data != `{"from":"client"}` {
			t.Errorf("received %s", data)
		}
	})
}

func TestRealRedisAndPrefix(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "hunter2")
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode, "REDIS_URL="+server.URL(), "REDIS_PREFIX="+mode+":", "REDIS_CONNECTIONS=3")
		p.awaitReady(http.StatusOK, "ok")
		c := connect(t, p.public)
		c.subscribe("news")
		if n := server.Publish(mode+":news", `{"n":1}`); n != 1 {
			t.Errorf("%d Redis clients are subscribed, want the node alone", n)
		}
		if channel, data := c.publication(); channel != "news" || data != `{"n":1}` {
			t.Errorf("received %s on %s", data, channel)
		}
		if reply := c.call("publish", `{"channel":"news","data":1}`); reply.Error == nil || reply.Error.Code != 103 {
			t.Errorf("a client may publish where CLIENT_PUBLISH is not set: %+v", reply)
		}
		if strings.Contains(p.output(), "hunter2") {
			t.Error("the log has the password of Redis")
		}
	})
}

// TestRedisAway kills Redis under a connected client, and brings it back.
func TestRedisAway(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		server := redistest.Start(t)
		p := startProcess(t, mode, "REDIS_URL="+server.URL(), "API_KEY=k", "CHANNEL_LINGER=0s")
		p.awaitReady(http.StatusOK, "ok")
		c := connect(t, p.public)
		c.subscribe("news")

		server.Kill()
		p.awaitReady(http.StatusServiceUnavailable, "Redis")
		if status, _ := p.get("/healthz"); status != http.StatusOK {
			t.Errorf("/healthz answers %d because Redis is away", status)
		}
		if reply := c.call("subscribe", `{"channel":"other"}`); reply.Error == nil || reply.Error.Code != 100 {
			t.Errorf("subscribe while Redis is away: %+v, want error 100", reply)
		}
		if _, answer := p.post("/api/publish", "k", `{"channel":"news","data":1}`); !strings.Contains(answer, `"code":100`) {
			t.Errorf("publish while Redis is away: %s, want error 100", answer)
		}
		if _, metrics := p.get("/metrics"); !strings.Contains(metrics, "\ntandem_redis_up 0\n") {
			t.Error("the metrics do not say that Redis is away")
		}

		server.Restart()
		p.awaitReady(http.StatusOK, "ok")
		end := c.take(func(m message) bool { return m.Push != nil && m.Push.Unsubscribe != nil })
		if end.Push.Channel != "news" || end.Push.Unsubscribe.Code != 2500 {
			t.Errorf("after the gap came %+v", end.Push)
		}
		c.subscribe("news")
		server.Publish("news", `"back"`)
		if _, data := c.publication(); data != `"back"` {
			t.Errorf("received %s", data)
		}
	})
}

// TestRedisAwayAtStart starts the server before its Redis.
func TestRedisAwayAtStart(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		server := redistest.Start(t)
		server.Kill()
		p := startProcess(t, mode, "REDIS_URL="+server.URL())
		p.awaitReady(http.StatusServiceUnavailable, "Redis")
		c := connect(t, p.public)
		if reply := c.call("subscribe", `{"channel":"news"}`); reply.Error == nil || reply.Error.Code != 100 {
			t.Errorf("subscribe before Redis is there: %+v, want error 100", reply)
		}
		server.Restart()
		p.awaitReady(http.StatusOK, "ok")
		c.subscribe("news")
		server.Publish("news", "1")
		if _, data := c.publication(); data != "1" {
			t.Errorf("received %s", data)
		}
	})
}

func TestServerAPI(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode, "API_KEY=secret")
		p.awaitReady(http.StatusOK, "ok")
		c := connect(t, p.public)
		c.subscribe("a")
		c.subscribe("b")

		if status, answer := p.post("/api/publish", "secret", `{"channel":"a","data":{"n":1}}`); status != 200 || answer != `{"result":{}}`+"\n" {
			t.Errorf("publish: %d %s", status, answer)
		}
		if channel, data := c.publication(); channel != "a" || data != `{"n":1}` {
			t.Errorf("received %s on %s", data, channel)
		}
		status, answer := p.post("/api/broadcast", "secret", `{"channels":["a","b"],"data":{"n":2}}`)
		if want := `{"result":{"responses":[{"result":{}},{"result":{}}]}}` + "\n"; status != 200 || answer != want {
			t.Errorf("broadcast: %d %s", status, answer)
		}
		received := make(map[string]string)
		for range 2 {
			channel, data := c.publication()
			received[channel] = data
		}
		if received["a"] != `{"n":2}` || received["b"] != `{"n":2}` {
			t.Errorf("the broadcast brought %v", received)
		}

		var info struct {
			Result struct {
				Nodes []api.NodeInfo `json:"nodes"`
			} `json:"result"`
		}
		_, answer = p.post("/api/info", "secret", "{}")
		if err := json.Unmarshal([]byte(answer), &info); err != nil || len(info.Result.Nodes) != 1 {
			t.Fatalf("info: %s: %v", answer, err)
		}
		if n := info.Result.Nodes[0]; n.NumClients != 1 || n.NumSubs != 2 || n.NumChannels != 2 || n.UID == "" || n.Version != version.Version || "MODE="+n.Mode != mode {
			t.Errorf("info: %+v", n)
		}

		if _, answer := p.post("/api/disconnect", "secret", fmt.Sprintf(`{"client":%q}`, c.id)); answer != `{"result":{}}`+"\n" {
			t.Errorf("disconnect: %s", answer)
		}
		if code, _ := closed(t, c.conn, false); code != 3503 {
			t.Errorf("disconnected with %d, want 3503", code)
		}
		again := connect(t, p.public)
		p.post("/api/disconnect", "secret", fmt.Sprintf(`{"client":%q,"disconnect":{"code":3011,"reason":"move"}}`, again.id))
		if code, _ := closed(t, again.conn, false); code != 3011 {
			t.Errorf("disconnected with %d, want the code that was asked for", code)
		}
	})
}

func TestMetrics(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode)
		p.awaitReady(http.StatusOK, "ok")
		c := connect(t, p.public)
		c.subscribe("news")
		_, metrics := p.get("/metrics")
		for _, want := range []string{
			"\ntandem_connections{protocol=\"json\"} 1\n", "\ntandem_subscriptions 1\n", "\ntandem_redis_up 1\n",
			"\ntandem_handshakes_total{protocol=\"json\"} 1\n", "\ntandem_redis_channels{link=\"0\"} 1\n",
			"\ntandem_redis_link_up{link=\"command\"} 1\n", "\ntandem_messages_in_total 2\n",
			"\ngo_goroutines ", "\nprocess_resident_memory_bytes ", "\nprocess_open_fds ",
			"\ntandem_build_info{mode=\"" + strings.TrimPrefix(mode, "MODE=") + "\",",
		} {
			if !strings.Contains(metrics, want) {
				t.Errorf("the metrics have no %q", want)
			}
		}
		if status, _ := p.get("/debug/pprof/goroutine?debug=1"); status != http.StatusOK {
			t.Errorf("pprof answers %d", status)
		}
		if status, _ := p.post("/api/info", "", "{}"); status != http.StatusNotFound {
			t.Errorf("without API_KEY the API answers %d, want 404", status)
		}
		for path, want := range map[string]int{"/nowhere": 404, "/echo": 404, "/metrics": 404, "/healthz": 200} {
			if status, _ := ask(t, http.MethodGet, "http://"+p.public+path, nil, ""); status != want {
				t.Errorf("the public port answers %d to %s, want %d", status, path, want)
			}
		}
		if code, _, stderr := oneShot(t, p.environ, "-health"); code != exitOK {
			t.Errorf("-health: exit code %d: %s", code, stderr)
		}
	})
}

// TestDrain ends the server while one client answers close frames and one does
// not.
func TestDrain(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode, "DRAIN_TIME=10ms")
		p.awaitReady(http.StatusOK, "ok")
		c := connect(t, p.public)
		c.subscribe("news")
		silent := dial(t, "ws://"+p.public+"/ws?channel=news", nil)

		p.signal(syscall.SIGTERM)
		if code, reason := closed(t, c.conn, false); code != 3001 || reason != "shutdown" {
			t.Errorf("closed with %d %q, want 3001 shutdown", code, reason)
		}
		if code, _ := closed(t, silent, true); code != 3001 {
			t.Errorf("closed with %d, want 3001", code)
		}
		if code := p.exit(); code != exitOK {
			t.Errorf("exit code %d, want 0", code)
		}
		p.awaitLog("stopped")
	})
}

// TestSecondSignalStopsAtOnce looks at a server that drains for an hour, and then
// ends it.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		p := startProcess(t, mode, "DRAIN_TIME=1h")
		p.awaitReady(http.StatusOK, "ok")
		for range 2 {
			connect(t, p.public)
		}
		p.signal(syscall.SIGINT)
		p.awaitReady(http.StatusServiceUnavailable, "draining")
		if code, _, _ := oneShot(t, p.environ, "-health"); code != exitOK {
			t.Errorf("-health while draining: exit code %d", code)
		}
		if _, _, err := websocket.DefaultDialer.Dial("ws://"+p.public+"/connection/websocket", nil); err == nil {
			t.Error("a draining server accepts clients")
		}
		p.signal(syscall.SIGTERM)
		if code := p.exit(); code != exitInterrupted {
			t.Errorf("exit code %d, want %d", code, exitInterrupted)
		}
	})
}

func TestAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	taken := l.Addr().String()
	for _, name := range []string{"ADDR", "INTERNAL_ADDR", "EMBEDDED_REDIS_ADDR"} {
		eachMode(t, func(t *testing.T, mode string) {
			environ := []string{mode, "ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "EMBEDDED_REDIS_ADDR=127.0.0.1:0", name + "=" + taken}
			code, _, stderr := oneShot(t, environ)
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			last := lines[len(lines)-1]
			if code != exitFailed || !strings.HasPrefix(last, "tandem: "+name+"="+taken) || !strings.Contains(last, "in use") {
				t.Errorf("exit code %d, %q", code, stderr)
			}
		})
	}
}

// TestBanner shows that the text log prints the command so that it can be
// copied: with its quotes as they are.
func TestBanner(t *testing.T) {
	p := launch(t, "ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "EMBEDDED_REDIS_ADDR=127.0.0.1:0")
	await(t, "the banner", func() bool {
		return strings.Contains(p.output(), ` publish news '{"hello":"world"}'`+"\n")
	})
	if out := p.output(); !strings.Contains(out, "redis-cli -p ") || !strings.Contains(out, "http://localhost:") ||
		!strings.Contains(out, "for trying out only") {
		t.Errorf("the banner lacks something: %s", out)
	}
}

// TestDescriptorLimit shows that a node takes no more connections than it has
// descriptors for, and says so where it was told to.
func TestDescriptorLimit(t *testing.T) {
	for _, test := range []struct {
		limit   string
		environ []string
		least   float64 // connections
		most    float64
		warned  bool
	}{
		{"ulimit -n 256", nil, 100, 200, false},
		{"ulimit -n 256", []string{"MAX_CONNECTIONS=100"}, 100, 100, false},
		{"ulimit -n 256", []string{"MAX_CONNECTIONS=1000"}, 100, 200, true},
		{"ulimit -S -n 128; ulimit -H -n 1024", nil, 700, 1000, false},
	} {
		p := launchWith(t, exec.Command("sh", "-c", test.limit+`; exec "$0"`, binary), append([]string{
			"ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "EMBEDDED_REDIS_ADDR=127.0.0.1:0", "LOG_FORMAT=json",
		}, test.environ...)...)
		ready := p.awaitLog("ready for connections")
		if most := ready["max_connections"].(float64); most < test.least || most > test.most {
			t.Errorf("%s, %v: takes %v connections, want %v to %v", test.limit, test.environ, most, test.least, test.most)
		}
		if warned := strings.Contains(p.output(), "ulimit -n"); warned != test.warned {
			t.Errorf("%s, %v: warned: %t", test.limit, test.environ, warned)
		}
	}
}

// TestDescriptorReserve shows that the internal listener answers whatever strangers do
// with the public one, however many CPUs there are.
func TestDescriptorReserve(t *testing.T) {
	for _, mode := range []string{"idiomatic", "optimized"} {
		t.Run(mode, func(t *testing.T) {
			p := launchWith(t, exec.Command("sh", "-c", `ulimit -n 320; exec "$0"`, binary), "MODE="+mode, "GOMAXPROCS=64",
				"ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "EMBEDDED_REDIS_ADDR=127.0.0.1:0", "LOG_FORMAT=json")
			ready := p.awaitLog("ready for connections")
			public, internal := ready["addr"].(string), ready["internal"].(string)
			for i := range 500 {
				conn, err := net.Dial("tcp", public)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				// It may be too many.
				_, _ = io.WriteString(conn, []string{"", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "GET /ws HTTP"}[i%4])
				if i%50 > 0 {
					continue
				}
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
				answer, err := client.Get("http://" + internal + "/healthz")
				if err != nil {
					t.Fatalf("with %d connections: %v", i+1, err)
				}
				_ = answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("with %d connections: %s", i+1, answer.Status)
				}
			}
		})
	}
}

// TestTooFewDescriptors shows that a node which has no room for connections says what
// to do, in one line.
func TestTooFewDescriptors(t *testing.T) {
	out, err := exec.Command("sh", "-c", `ulimit -n 100; MODE=optimized LOOPS=64 exec "$0"`, binary).CombinedOutput()
	if text := string(out); err == nil || strings.Count(text, "\n") != 1 || !strings.Contains(text, "ulimit -n") || !strings.Contains(text, "LOOPS") {
		t.Errorf("it ends with %v and says %q", err, text)
	}
}

func TestHealthOfNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	if code, _, stderr := oneShot(t, []string{"INTERNAL_ADDR=" + addr}, "-health"); code != exitFailed || !strings.Contains(stderr, "tandem: health: ") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

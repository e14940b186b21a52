//go:build linux

package proxies_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/redisbus/redistest"
)

// eachProxy runs a test against both proxies at the same time.
func eachProxy(t *testing.T, test func(t *testing.T, kind proxyKind)) {
	for _, kind := range proxyKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

// TestWebSocket sends clients through the proxy to two servers, one in each mode:
// they are upgraded, stay although nothing but pings happens for longer than the
// proxy waits, and go to the other server while one drains.
func TestWebSocket(t *testing.T) {
	redis := redistest.Start(t)
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		servers := []*server{
			startServer(t, "MODE=idiomatic", "REDIS_URL="+redis.URL(), "REDIS_PREFIX="+kind.name+":", "PING_INTERVAL=6s", "PONG_TIMEOUT=5900ms"),
			startServer(t, "MODE=optimized", "REDIS_URL="+redis.URL(), "REDIS_PREFIX="+kind.name+":", "PING_INTERVAL=6s", "PONG_TIMEOUT=5900ms"),
		}
		proxy := kind.start(t, 9*time.Second, servers[0].addr, servers[1].addr)

		clients := []*client{dial(t, proxy), dial(t, proxy)}
		var silence sync.WaitGroup
		for _, c := range clients {
			c.subscribe("news")
			// Longer than the proxy waits.
			silence.Go(func() { c.answerPings(2) })
		}
		silence.Wait()
		for i, s := range servers {
			if n := s.connections(t); n != "1" {
				t.Errorf("server %d has %s connections, want one client each", i, n)
			}
		}
		if n := redis.Publish(kind.name+":news", `{"n":1}`); n != 2 {
			t.Errorf("%d servers are subscribed, want 2", n)
		}
		for _, c := range clients {
			if got := c.publication(); got != `{"n":1}` {
				t.Errorf("received %s", got)
			}
		}

		servers[0].stop(t)
		ended := 0
		for _, c := range clients {
			if c.closedBy(3001) {
				ended++
			}
		}
		if ended != 1 {
			t.Errorf("%d clients were told 3001, want those of the server that drained", ended)
		}
		for range 3 {
			dial(t, proxy).subscribe("news")
		}
	})
}

// TestSilenceEndsAtTheProxy shows that the test above could fail: without pings
// the proxy ends what is silent.
func TestSilenceEndsAtTheProxy(t *testing.T) {
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		s := startServer(t, "PING_INTERVAL=0")
		c := dial(t, kind.start(t, time.Second, s.addr))
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := c.conn.ReadMessage(); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("a silent connection ended with %v", err)
		}
	})
}

// TestHeaders looks at what a server gets to see of a client that lies about its
// address.
func TestHeaders(t *testing.T) {
	seen := make(chan http.Header, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		r.Header.Set("Host", r.Host)
		if r.URL.Path == "/there" {
			seen <- r.Header
		}
	}))
	t.Cleanup(upstream.Close)
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		proxy := kind.start(t, time.Second, upstream.Listener.Addr().String())
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+proxy+"/there", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Close = true
		request.Header.Set("X-Forwarded-For", "6.6.6.6")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		header := <-seen
		for name, want := range map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "Host": proxy,
		} {
			if got := header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s is %q, want %s", name, got, want)
			}
		}
		if header.Get("Upgrade") != "" || strings.EqualFold(header.Get("Connection"), "upgrade") {
			t.Errorf("a plain request became an upgrade: %v", header)
		}
	})
}

// TestClientAddress: a server that trusts the proxy knows its clients apart, whatever
// they claim.
func TestClientAddress(t *testing.T) {
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		s := startServer(t, "TRUSTED_PROXIES=127.0.0.1", "MAX_CONNECTIONS_PER_ADDRESS=1")
		proxy := kind.start(t, patience, s.addr)
		for _, test := range []struct {
			from, claimed string
			in            bool
		}{
			{"127.0.0.2", "", true},
			{"127.0.0.2", "", false},
			{"127.0.0.2", "203.0.113.6", false},
			{"127.0.0.3", "127.0.0.2", true},
		} {
			dialer := websocket.Dialer{NetDialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(test.from)}}).DialContext}
			header := http.Header{}
			if test.claimed != "" {
				header.Set("X-Forwarded-For", test.claimed)
			}
			conn, response, err := dialer.Dial("ws://"+proxy+"/connection/websocket", header)
			if err == nil {
				t.Cleanup(func() { _ = conn.Close() })
			} else if response == nil {
				t.Fatalf("from %s: %v", test.from, err)
			}
			if in := err == nil; in != test.in {
				t.Errorf("from %s, claiming %q: in: %t, want %t (%v)", test.from, test.claimed, in, test.in, err)
			}
		}
	})
}

// TestTimeouts: what the files say is longer than a client may be silent.
func TestTimeouts(t *testing.T) {
	variables, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var silence time.Duration
	for _, name := range []string{"PING_INTERVAL", "PONG_TIMEOUT"} {
		found := regexp.MustCompile("\\| `" + name + "` \\| `([0-9a-z]+)`").FindSubmatch(variables)
		if found == nil {
			t.Fatalf("docs/configuration.md has no default of %s", name)
		}
		d, err := time.ParseDuration(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		silence += d
	}
	for _, kind := range proxyKinds {
		found := kind.timeout.FindAllStringSubmatch(kind.config(t), -1)
		if len(found) == 0 {
			t.Errorf("%s has no idle timeout", kind.file)
		}
		for _, timeout := range found {
			if seconds, _ := strconv.Atoi(timeout[2]); time.Duration(seconds)*time.Second <= silence {
				t.Errorf("%s: %s: shorter than %v", kind.file, timeout[0], silence)
			}
		}
	}
}

// client speaks the JSON protocol through a proxy.
type client struct {
	t    *testing.T
	conn *websocket.Conn
	id   int
}

func dial(t *testing.T, proxy string) *client {
	t.Helper()
	// The origin of a page that came through the same proxy.
	conn, response, err := websocket.DefaultDialer.Dial("ws://"+proxy+"/connection/websocket", http.Header{"Origin": {"http://" + proxy}})
	if err != nil {
		t.Fatalf("dial: %v, %v", err, response)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &client{t: t, conn: conn}
	c.call(`"connect":{}`, `"client"`)
	return c
}

func (c *client) subscribe(channel string) {
	c.t.Helper()
	c.call(`"subscribe":{"channel":"`+channel+`"}`, `"subscribe"`)
}

// call sends a command and reads until its reply, which has to contain want.
func (c *client) call(command, want string) {
	c.t.Helper()
	c.id++
	if err := c.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":%d,%s}`, c.id, command)); err != nil {
		c.t.Fatal(err)
	}
	for {
		line := c.read()
		if strings.HasPrefix(line, fmt.Sprintf(`{"id":%d,`, c.id)) {
			if !strings.Contains(line, want) {
				c.t.Fatalf("%s is answered %s", command, line)
			}
			return
		}
	}
}

// next returns the next line, and answers it if it is a ping.
func (c *client) next() (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	_, data, err := c.conn.ReadMessage()
	line := strings.TrimSpace(string(data))
	if line == "{}" {
		err = c.conn.WriteMessage(websocket.TextMessage, []byte("{}"))
	}
	return line, err
}

func (c *client) read() string {
	c.t.Helper()
	line, err := c.next()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return line
}

// answerPings may run beside those of other clients.
func (c *client) answerPings(n int) {
	for n > 0 {
		line, err := c.next()
		if err != nil {
			c.t.Errorf("with %d pings to go: %v", n, err)
			return
		}
		if line == "{}" {
			n--
		}
	}
}

// publication returns the data of the next one.
func (c *client) publication() string {
	c.t.Helper()
	for {
		if _, data, ok := strings.Cut(c.read(), `"data":`); ok {
			return strings.TrimRight(data, "}") + "}"
		}
	}
}

// closedBy reads on, and reports whether the connection ends with this code before
// the next few pings.
func (c *client) closedBy(code int) bool {
	c.t.Helper()
	for pings := 0; pings < 3; {
		line, err := c.next()
		if err != nil {
			return websocket.IsCloseError(err, code)
		}
		if line == "{}" {
			pings++
		}
	}
	return false
}

// connections is what the server counts, as the metric has it.
func (s *server) connections(t *testing.T) string {
	t.Helper()
	response, err := plain.Get("http://" + s.internal + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var b strings.Builder
	if err := response.Write(&b); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(b.String(), "\ntandem_connections{protocol=\"json\"} ")
	n, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(n)
}

// stop drains the server and waits for its end.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("the server does not end")
	}
}

// freeAddr is an address on which nothing listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

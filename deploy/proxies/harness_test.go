//go:build linux

// Package proxies_test runs the examples with the real proxies in front of real
// servers.
package proxies_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a test waits for something that must happen.
const patience = 2 * time.Minute

// plain is for requests to the internal listener; it leaves no connection behind.
var plain = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// program is the server, built once.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tandem-proxies-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "tandem")
	build := exec.Command("../release/build.sh", program)
	build.Env = append(os.Environ(), "VERSION=test")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// server is a running Tandem.
type server struct {
	cmd            *exec.Cmd
	addr, internal string
	ended          chan struct{}
}

// startServer returns once the server takes connections. It ends with the test.
func startServer(t *testing.T, environ ...string) *server {
	t.Helper()
	s := &server{cmd: exec.Command(program), ended: make(chan struct{})}
	s.cmd.Env = append([]string{
		"ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "EMBEDDED_REDIS_ADDR=127.0.0.1:0", "LOG_FORMAT=json", "DRAIN_TIME=0s",
	}, environ...)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan map[string]any, 1)
	go func() {
		defer close(s.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var entry map[string]any
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry["msg"] == "ready for connections" {
				ready <- entry
			}
		}
		_ = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.ended
	})
	select {
	case entry := <-ready:
		s.addr, s.internal = entry["addr"].(string), entry["internal"].(string)
	case <-time.After(patience):
		t.Fatal("the server does not start")
	}
	await(t, "the server is ready", func() bool {
		response, err := plain.Get("http://" + s.internal + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return s
}

// await polls until done returns true.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v until %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// proxyKind is one proxy and its example.
type proxyKind struct {
	name, file string
	// timeout finds the idle timeouts of upgraded connections: what is before
	// the number, the number, what is behind it.
	timeout *regexp.Regexp
	listen  [2]string // what the example listens on, and with %s in place of the address
	server  [2]string // one server of the example, and with %d and %s
	command func(dir, config string) *exec.Cmd
	wrapper string // with %s for the example's path and %[2]s for a folder; empty: none
}

var proxyKinds = []proxyKind{
	{
		name: "nginx", file: "nginx.conf",
		timeout: regexp.MustCompile(`(proxy_(?:read|send)_timeout )([0-9]+)(s;)`),
		listen:  [2]string{"listen 80;", "listen %s;"},
		server:  [2]string{"server 127.0.0.1:8080;", "server %[2]s; # %[1]d\n"},
		command: func(dir, config string) *exec.Cmd {
			return exec.Command("nginx", "-p", dir, "-e", "stderr", "-c", config)
		},
		wrapper: `daemon off;
pid %[2]s/pid;
error_log stderr;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	include %[1]s;
}
`,
	},
	{
		name: "haproxy", file: "haproxy.cfg",
		timeout: regexp.MustCompile(`(timeout tunnel )([0-9]+)(s)`),
		listen:  [2]string{"bind :80\n", "bind %s\n"},
		server:  [2]string{"server one 127.0.0.1:8080\n", "server s%d %s\n"},
		command: func(_, config string) *exec.Cmd { return exec.Command("haproxy", "-db", "-f", config) },
	},
}

func (k *proxyKind) config(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(k.file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// start runs the proxy with its example, but for the addresses and the idle
// timeout. It returns the proxy's address once that answers.
func (k *proxyKind) start(t *testing.T, idle time.Duration, servers ...string) string {
	t.Helper()
	addr, dir := freeAddr(t), t.TempDir()
	var lines strings.Builder
	for i, s := range servers {
		fmt.Fprintf(&lines, k.server[1], i, s)
	}
	config := k.config(t)
	for _, change := range [][2]string{{k.listen[0], fmt.Sprintf(k.listen[1], addr)}, {k.server[0], lines.String()}, {"maxconn 100000", "maxconn 100"}} {
		if k.name == "nginx" && strings.HasPrefix(change[0], "maxconn") {
			continue
		}
		if strings.Count(config, change[0]) == 0 {
			t.Fatalf("%s has no %q", k.file, change[0])
		}
		config = strings.ReplaceAll(config, change[0], change[1])
	}
	config = k.timeout.ReplaceAllString(config, fmt.Sprintf("${1}%d${3}", int(idle.Seconds())))
	path := filepath.Join(dir, k.file)
	write(t, path, config)
	if k.wrapper != "" {
		outer := filepath.Join(dir, "outer.conf")
		write(t, outer, fmt.Sprintf(k.wrapper, path, dir))
		path = outer
	}
	cmd := k.command(dir, path)
	if cmd.Err != nil {
		t.Fatalf("%v: run deploy/test-deps.sh, or apt-get install %s", cmd.Err, k.name)
	}
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s wrote:\n%s", k.name, output.String())
		}
	})
	await(t, k.name+" answers", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	return addr
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

//go:build linux

package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patience is how long a test waits for something that must happen.
const patience = 2 * time.Minute

// program is the server that the tests' own questions go to.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tandem-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "tandem")
	build := exec.Command("../deploy/release/build.sh", program)
	build.Env = append(os.Environ(), "VERSION=test")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// buffer is what a command has printed so far.
type buffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// node is the server that a reader has started with make run.
type node struct {
	t                       *testing.T
	output                  buffer
	public, internal, redis string // ports
	environ                 []string
}

// environment is that of the test without what a make around it has set, and with
// Debian's programs first, for those know Debian's libraries.
func environment(more ...string) []string {
	environ := []string{"PATH=/usr/bin:/bin:" + os.Getenv("PATH")}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MAKE") && !strings.HasPrefix(variable, "MFLAGS") && !strings.HasPrefix(variable, "PATH=") {
			environ = append(environ, variable)
		}
	}
	return append(environ, more...)
}

// startNode runs make run, on ports of its own.
func startNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t}
	stop := n.start("make run", []string{
		"ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "EMBEDDED_REDIS_ADDR=127.0.0.1:0", "API_KEY=secret", "LOG_FORMAT=text",
	}, &n.output, &n.output)
	t.Cleanup(func() { _ = stop() })
	find := func(pattern string) (found string) {
		await(t, "make run prints "+pattern, &n.output, func(text string) bool {
			m := regexp.MustCompile(pattern).FindStringSubmatch(text)
			if m != nil {
				found = m[1]
			}
			return m != nil
		})
		return found
	}
	n.redis = find(`redis-cli -p (\d+) `)
	n.public = find(` addr=\S*:(\d+)`)
	n.internal = find(` internal=\S*:(\d+)`)
	find(`redis (link) up`)
	find(`redis command (link) up`)
	n.environ = []string{
		"ADDR=127.0.0.1:" + n.public, "INTERNAL_ADDR=127.0.0.1:" + n.internal,
		"EMBEDDED_REDIS_ADDR=127.0.0.1:" + n.redis, "API_KEY=secret",
	}
	return n
}

// start runs a command in the repository's root. stop asks it, and all that it
// started, to end, and returns how it did.
func (n *node) start(command string, environ []string, stdout, stderr *buffer) (stop func() error) {
	n.t.Helper()
	cmd := exec.Command("bash", "-c", command)
	cmd.Dir = ".."
	cmd.Env = environment(environ...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	return func() error {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		late := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer late.Stop()
		return cmd.Wait()
	}
}

// ports are those that the pages speak of.
var ports = regexp.MustCompile(`\b(8080|9000|6379)\b`)

// here is the text with the ports of this node.
func (n *node) here(text string) string {
	return ports.ReplaceAllStringFunc(text, func(port string) string {
		return map[string]string{"8080": n.public, "9000": n.internal, "6379": n.redis}[port]
	})
}

// await polls what is printed until done returns true.
func await(t *testing.T, what string, b *buffer, done func(text string) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(b.String()); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v until %s; it printed\n%s", patience, what, b)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// watching tells a command that goes on until it is interrupted.
var watching = regexp.MustCompile(`tandem watch ([^-].*)$`)

// TestCommands types what the pages show, block for block.
func TestCommands(t *testing.T) {
	n := startNode(t)
	run := 0
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			if b.language != "console" || b.notRun != "" {
				continue
			}
			steps, err := b.steps()
			if err != nil {
				t.Fatal(err)
			}
			run++
			t.Run(strings.TrimPrefix(b.String(), "../"), func(t *testing.T) { n.block(t, steps) })
		}
	}
	if run == 0 {
		t.Error("no page has a command that is run")
	}
}

// block runs the commands of one block. Those that watch go on beside the others,
// and are looked at last.
func (n *node) block(t *testing.T, steps []step) {
	for _, s := range steps {
		var stdout, stderr buffer
		switch watched := watching.FindStringSubmatch(s.command); {
		case s.command == "make run":
			// That node is there.
			for _, line := range s.output {
				if !strings.Contains(n.output.String(), n.here(line)) {
					t.Errorf("make run does not print %q", n.here(line))
				}
			}
		case watched != nil:
			stop := n.start(n.here(s.command), n.environ, &stdout, &stderr)
			ready := len(strings.Fields(watched[1]))
			await(t, s.command+" has subscribed", &stderr, func(text string) bool {
				return strings.Count(text, "subscribed to ") >= ready
			})
			defer func() {
				await(t, s.command+" has printed "+strings.Join(s.output, "\n"), &stdout, func(text string) bool {
					return matches(strings.Join(s.output, "\n"), text)
				})
				if err := stop(); err != nil {
					t.Errorf("%s: %v\n%s", s.command, err, &stderr)
				}
			}()
		default:
			cmd := exec.Command("bash", "-c", n.here(s.command))
			cmd.Dir = ".."
			cmd.Env = environment(n.environ...)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("%s: %v\n%s%s", s.command, err, &stdout, &stderr)
			}
			if want := n.here(strings.Join(s.output, "\n")); want != "" && !matches(want, stdout.String()) {
				t.Errorf("%s: prints\n%s\nand should\n%s", s.command, &stdout, want)
			}
		}
	}
}

// languages are those in which pages show how to publish, and what runs them.
var languages = map[string]func(t *testing.T, text string) *exec.Cmd{
	"sh":     interpreter("sh", "-c"),
	"python": interpreter("python3", "-c"),
	"php":    interpreter("php", "-r"),
	"ruby":   interpreter("ruby", "-e"),
	"js":     interpreter("node", "--input-type=module", "-e"),
	"go": func(t *testing.T, text string) *exec.Cmd {
		path := filepath.Join(t.TempDir(), "main.go")
		source := "package main\n\nimport (\n\t\"context\"\n\n\t\"github.com/redis/go-redis/v9\"\n)\n\nfunc main() {\n" + text + "}\n"
		if err := os.WriteFile(path, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		return exec.Command("go", "run", path)
	},
}

func interpreter(name string, args ...string) func(*testing.T, string) *exec.Cmd {
	return func(_ *testing.T, text string) *exec.Cmd {
		// The environment of the command decides which one that is.
		return exec.Command("/usr/bin/env", append(append([]string{name}, args...), text)...)
	}
}

// TestPrograms runs the programs that publish, and waits for what they say.
func TestPrograms(t *testing.T) {
	n := startNode(t)
	hello := regexp.MustCompile(`\{"?hello"?: *"[^"]+"\}`)
	seen := make(map[string]bool)
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			command := languages[b.language]
			if command == nil || b.notRun != "" {
				continue
			}
			seen[b.language] = true
			t.Run(b.language, func(t *testing.T) {
				conn, _, err := websocket.DefaultDialer.Dial("ws://"+net.JoinHostPort("127.0.0.1", n.public)+"/ws?channel=news", nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				// Reading answers pings, of which several come while a program is built.
				received := make(chan []byte, 1)
				go func() {
					defer close(received)
					if _, data, err := conn.ReadMessage(); err == nil {
						received <- data
					}
				}()
				cmd := command(t, n.here(b.text))
				cmd.Dir = ".."
				cmd.Env = environment(n.environ...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %v\n%s", b, err, out)
				}
				var data []byte
				select {
				case data = <-received:
				case <-time.After(patience):
				}
				if data == nil {
					t.Fatalf("%v: nothing was published", b)
				}
				var message struct{ Hello string }
				if err := json.Unmarshal(data, &message); err != nil {
					t.Fatalf("%v published %s: %v", b, data, err)
				}
				if want := hello.FindString(b.text); want == "" || !strings.Contains(want, `"`+message.Hello+`"`) {
					t.Errorf("%v published %s, want %s", b, data, want)
				}
			})
		}
	}
	if len(seen) < 5 {
		t.Errorf("the pages show how to publish in %d languages, want at least 5", len(seen))
	}
}

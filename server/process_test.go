package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-ws/tandem/server/config"
)

// patience is how long a test waits for something that must happen. It is far
// longer than anything takes, on a busy machine too.
const patience = 2 * time.Minute

// allModes are the modes that this system can run.
func allModes() []string {
	if runtime.GOOS == "linux" {
		return []string{config.Idiomatic, config.Optimized}
	}
	return []string{config.Idiomatic}
}

// process is a server that runs as users run it.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	public   string // host:port
	internal string // host:port
	environ  []string

	mu      sync.Mutex // guards entries and other
	entries []map[string]any
	other   []string // lines that are no JSON

	code  chan int      // gets the exit code, once
	ended chan struct{} // closed when the process has ended
}

// startProcess runs the server with these variables and returns once it is
// ready for connections. It is killed with the test, where that has not ended it.
func startProcess(t *testing.T, environ ...string) *process {
	t.Helper()
	p := launch(t, append([]string{
		"ADDR=127.0.0.1:0", "INTERNAL_ADDR=127.0.0.1:0", "EMBEDDED_REDIS_ADDR=127.0.0.1:0", "LOG_FORMAT=json", "LOG_LEVEL=debug",
	}, environ...)...)
	ready := p.awaitLog("ready for connections")
	p.public, p.internal = ready["addr"].(string), ready["internal"].(string)
	p.environ = append(p.environ, "INTERNAL_ADDR="+p.internal)
	return p
}

// launch starts the server and waits for nothing.
func launch(t *testing.T, environ ...string) *process {
	t.Helper()
	return launchWith(t, exec.Command(binary), environ...)
}

// launchWith is launch with a command that becomes the server.
func launchWith(t *testing.T, cmd *exec.Cmd, environ ...string) *process {
	t.Helper()
	p := &process{t: t, code: make(chan int, 1), ended: make(chan struct{}), environ: environ, cmd: cmd}
	p.cmd.Env = append([]string{"GORACE=exitcode=66"}, environ...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.read(stderr)
		_ = p.cmd.Wait()
		p.code <- p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s wrote:\n%s", strings.Join(environ, " "), p.output())
		}
	})
	return p
}

func (p *process) read(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry map[string]any
		p.mu.Lock()
		if json.Unmarshal(lines.Bytes(), &entry) == nil {
			p.entries = append(p.entries, entry)
		} else {
			p.other = append(p.other, lines.Text())
		}
		p.mu.Unlock()
	}
}

// output is everything that the server has written.
func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, entry := range p.entries {
		line, _ := json.Marshal(entry)
		fmt.Fprintf(&b, "%s\n", line)
	}
	return b.String() + strings.Join(p.other, "\n")
}

// awaitLog waits for a log entry with this message.
func (p *process) awaitLog(message string) (found map[string]any) {
	p.t.Helper()
	await(p.t, "log entry "+message, func() bool {
		ended := false
		select {
		case <-p.ended:
			ended = true
		default:
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, entry := range p.entries {
			if entry["msg"] == message {
				found = entry
				return true
			}
		}
		if ended {
			p.t.Fatalf("the server ended without a log entry %q", message)
		}
		return false
	})
	return found
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits until the server has ended and returns its exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case code := <-p.code:
		return code
	case <-time.After(patience):
		p.t.Fatal("the server does not end")
		return 0
	}
}

// get asks the internal listener.
func (p *process) get(path string) (status int, body string) {
	p.t.Helper()
	return ask(p.t, http.MethodGet, "http://"+p.internal+path, nil, "")
}

// post calls the server API.
func (p *process) post(path, key, body string) (status int, answer string) {
	p.t.Helper()
	return ask(p.t, http.MethodPost, "http://"+p.internal+path, map[string]string{"X-API-Key": key}, body)
}

// awaitReady waits until /readyz answers with this status and says want.
func (p *process) awaitReady(status int, want string) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("/readyz with %d %s", status, want), func() bool {
		got, body := p.get("/readyz")
		return got == status && strings.Contains(body, want)
	})
}

// ask makes one HTTP request on a connection of its own.
func ask(t *testing.T, method, url string, headers map[string]string, body string) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(all)
}

// await polls until done returns true.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// oneShot runs the server until it ends by itself.
func oneShot(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), environ...)
	var out, wrong strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &wrong
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), wrong.String()
}

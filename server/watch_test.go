package server

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tandem-ws/tandem/redisbus/redistest"
)

// tool is a verb that runs until it is told to stop.
type tool struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{}

	mu             sync.Mutex // guards what follows
	stdout, stderr []string   // lines
}

func startTool(t *testing.T, environ []string, args ...string) *tool {
	t.Helper()
	w := &tool{t: t, cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), environ...)
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := w.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { w.read(bufio.NewScanner(stdout), &w.stdout) })
	reading.Go(func() { w.read(bufio.NewScanner(stderr), &w.stderr) })
	go func() {
		defer close(w.ended)
		reading.Wait()
		_ = w.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		<-w.ended
	})
	return w
}

func (w *tool) read(lines *bufio.Scanner, into *[]string) {
	for lines.Scan() {
		w.mu.Lock()
		*into = append(*into, lines.Text())
		w.mu.Unlock()
	}
}

// awaitLines waits until that many lines of standard error contain text.
func (w *tool) awaitLines(text string, n int) {
	w.t.Helper()
	await(w.t, text, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		found := 0
		for _, line := range w.stderr {
			if strings.Contains(line, text) {
				found++
			}
		}
		return found >= n
	})
}

// exit waits until it has ended and returns its exit code and what it printed.
func (w *tool) exit() (int, string) {
	w.t.Helper()
	await(w.t, "the end of the tool", func() bool {
		select {
		case <-w.ended:
			return true
		default:
			return false
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cmd.ProcessState.ExitCode(), strings.Join(w.stdout, "\n")
}

// TestWatchAndPublish is what an operator does to see that messages arrive, with
// a restart of the server in between.
func TestWatchAndPublish(t *testing.T) {
	redis := redistest.Start(t)
	eachMode(t, func(t *testing.T, mode string) {
		environ := []string{mode, "REDIS_URL=" + redis.URL(), "REDIS_PREFIX=" + mode + ":"}
		p := startProcess(t, environ...)
		addr := "ADDR=" + p.public
		w := startTool(t, append(environ, addr), "watch", "-n", "3", "news", "a b")
		w.awaitLines("subscribed to ", 2)

		publish := func(channel, data string) {
			t.Helper()
			if code, out, wrong := oneShot(t, environ, "publish", channel, data); code != exitOK || out != "received by 1\n" {
				t.Errorf("publish: exit code %d, %q, %q", code, out, wrong)
			}
		}
		publish("news", `{"n":1}`)
		publish("a b", "no JSON")

		p.signal(syscall.SIGTERM)
		w.awaitLines("3001 shutdown: reconnecting", 1)
		if code := p.exit(); code != exitOK {
			t.Fatalf("the server ended with %d", code)
		}
		again := startProcess(t, append(environ, addr)...)
		again.awaitReady(200, "ok")
		w.awaitLines("subscribed to ", 4)
		publish("news", "3")

		if code, out := w.exit(); code != exitOK || out != "news {\"n\":1}\na b \"no JSON\"\nnews 3" {
			t.Errorf("exit code %d, printed %q", code, out)
		}
	})
}

// TestWatchEnds shows that a signal ends it as it should, that a refusal by the server
// ends it as a failure, and that a name which no channel can have is a wrong argument.
func TestWatchEnds(t *testing.T) {
	p := startProcess(t, "API_KEY=k", "MAX_CHANNEL_LENGTH=10")
	p.awaitReady(200, "ok")
	environ := []string{"ADDR=" + p.public}
	w := startTool(t, environ, "watch", "news")
	w.awaitLines("subscribed to news", 1)
	if err := w.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code, out := w.exit(); code != exitOK || out != "" {
		t.Errorf("interrupted: exit code %d, printed %q", code, out)
	}
	for length, want := range map[int]int{11: exitFailed, 300: exitUsage} {
		w = startTool(t, environ, "watch", strings.Repeat("x", length))
		if code, _ := w.exit(); code != want {
			t.Errorf("a channel of %d bytes: exit code %d, want %d", length, code, want)
		}
	}
}

func TestPublishStandardInput(t *testing.T) {
	p := startProcess(t, "EMBEDDED_REDIS_ADDR=127.0.0.1:0")
	p.awaitReady(200, "ok")
	// The address of the embedded Redis is in the command that the log shows.
	_, port, _ := strings.Cut(p.awaitLog("try it")["publish"].(string), "-p ")
	port, _, _ = strings.Cut(port, " ")
	c := connect(t, p.public)
	c.subscribe("news")
	cmd := exec.Command(binary, "publish", "news", "-")
	cmd.Env = append(os.Environ(), "EMBEDDED_REDIS_ADDR=127.0.0.1:"+port)
	cmd.Stdin = strings.NewReader("{\"big\":1}\n")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "received by 1\n" {
		t.Fatalf("%v: %s", err, out)
	}
	if _, data := c.publication(); data != `{"big":1}` {
		t.Errorf("received %s", data)
	}
}

func TestPublishWithoutRedis(t *testing.T) {
	redis := redistest.Start(t)
	redis.Kill()
	code, _, wrong := oneShot(t, []string{"REDIS_URL=" + redis.URL()}, "publish", "news", "1")
	if code != exitFailed || !strings.HasPrefix(wrong, "tandem: publish: ") || !strings.Contains(wrong, "refused") {
		t.Errorf("exit code %d, %q", code, wrong)
	}
}

func TestCheck(t *testing.T) {
	redis := redistest.Start(t, "--requirepass", "hunter2")
	url := "REDIS_URL=" + redis.URL()
	code, out, wrong := oneShot(t, []string{url, "MODE=idiomatic", "REDIS_PREFIX=app:"}, "check")
	if code != exitOK || wrong != "" {
		t.Fatalf("exit code %d, %q", code, wrong)
	}
	for _, want := range []string{"configuration  good\n", "mode           idiomatic\n", "Redis ", redis.Addr() + " answers in ", "a message came back"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q does not say %q", out, want)
		}
	}
	if _, out, _ := oneShot(t, nil, "check"); !strings.Contains(out, "embedded") {
		t.Errorf("without a Redis it says %q", out)
	}
	for _, test := range []struct{ variable, want string }{
		{"REDIS_URL=" + strings.Replace(redis.URL(), "hunter2", "wrong", 1), "WRONGPASS"},
		{"MAX_CONNECTIONS=100000000", "MAX_CONNECTIONS=100000000: more than the limit"},
	} {
		code, out, wrong := oneShot(t, []string{url, test.variable}, "check")
		if code != exitFailed || !strings.Contains(wrong, test.want) || strings.Contains(wrong, "hunter2") || !strings.Contains(out, "good") {
			t.Errorf("%s: exit code %d, %q, %q", test.variable, code, out, wrong)
		}
	}
	redis.Kill()
	if code, _, wrong := oneShot(t, []string{url}, "check"); code != exitFailed || !strings.Contains(wrong, redis.Addr()) || strings.Contains(wrong, "hunter2") {
		t.Errorf("without Redis: exit code %d, %q", code, wrong)
	}
}

// TestWatchWrongURL: whatever answers there, or does not, watch ends soon, with one line.
func TestWatchWrongURL(t *testing.T) {
	p := startProcess(t)
	p.awaitReady(200, "ok")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for what, url := range map[string]string{
		"nobody listens":       "ws://" + closed.Addr().String() + "/connection/websocket",
		"nobody answers":       "ws://" + silent.Addr().String() + "/connection/websocket",
		"another path":         "ws://" + p.public + "/nowhere",
		"no Centrifuge":        "ws://" + p.public + "/ws?channel=news",
		"the wrong port":       "ws://" + p.internal + "/connection/websocket",
		"TLS where there none": "wss://" + p.public + "/connection/websocket",
		"no such host":         "ws://host.invalid/connection/websocket",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := startTool(t, nil, "watch", "-url", url, "news")
			code, out := w.exit()
			w.mu.Lock()
			defer w.mu.Unlock()
			if code != exitFailed || out != "" || len(w.stderr) != 1 || !strings.HasPrefix(w.stderr[0], "tandem: watch: ") {
				t.Errorf("exit code %d, printed %q and %q", code, out, w.stderr)
			}
		})
	}
}

// TestChannelsThatCannotBe: what no client can subscribe to is refused before anything
// is sent, or signed.
func TestChannelsThatCannotBe(t *testing.T) {
	for name, channel := range map[string]string{"empty": "", "long": strings.Repeat("x", 256), "control": "a\nb", "no UTF-8": "a\xff"} {
		for _, args := range [][]string{{"publish", channel, "1"}, {"token", "-channel", channel}, {"token", "-channels", "a," + channel}} {
			if name == "empty" && args[0] == "token" {
				continue // without a channel
			}
			if name == "control" && args[1] == "-channels" {
				args[2] = "a,b\x00c"
			}
			var stdout, stderr strings.Builder
			code := program(args, []string{"REDIS_URL=redis://127.0.0.1:1", "TOKEN_SECRET=" + testSecret}, &stdout, &stderr)
			if code != exitUsage || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), "channel") {
				t.Errorf("%s, %s: exit code %d, printed %q and %q", name, args[0], code, stdout.String(), stderr.String())
			}
		}
	}
	var stderr strings.Builder
	if code := program([]string{"publish", "news", ""}, []string{"REDIS_URL=redis://127.0.0.1:1"}, &strings.Builder{}, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "empty") {
		t.Errorf("an empty message: exit code %d, %q", code, stderr.String())
	}
}

// TestRedisThatDoesNotAnswer: the verbs that need it end.
func TestRedisThatDoesNotAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for _, args := range [][]string{{"publish", "news", "1"}, {"check"}} {
		code, _, wrong := oneShot(t, []string{"REDIS_URL=redis://" + silent.Addr().String(), "SUBSCRIBE_TIMEOUT=100ms"}, args...)
		if code != exitFailed || strings.Count(wrong, "\n") != 1 || !strings.HasPrefix(wrong, "tandem: "+args[0]+": ") {
			t.Errorf("%s: exit code %d, %q", args[0], code, wrong)
		}
	}
}

package command

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// asProgram makes the test program behave as a program of subcommands.
const asProgram = "TANDEM_TEST_AS_COMMAND"

var errValue = errors.New("bad value")

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	p := Program{Name: "program", Invalid: []error{errValue}, Commands: []Command{
		{Name: "value", Run: func(_ context.Context, args []string) error {
			flags := flag.NewFlagSet("value", flag.ContinueOnError)
			if err := Parse(flags, args); err != nil {
				return err
			}
			return fmt.Errorf("%w: 7", errValue)
		}},
		{Name: "fail", Run: func(context.Context, []string) error { return errors.New("failed") }},
		{Name: "wait", Temporary: true, Run: func(ctx context.Context, args []string) error {
			if _, err := os.CreateTemp("", "left"); err != nil {
				return err
			}
			fmt.Println("waiting")
			<-ctx.Done()
			if len(args) > 0 { // does not end by itself
				fmt.Println("ending")
				select {}
			}
			return errors.New("interrupted")
		}},
		{Name: "ignored", Run: func(context.Context, []string) error {
			fmt.Println(signal.Ignored(syscall.SIGHUP))
			return nil
		}},
		{Name: "listen", Temporary: true, Run: func(ctx context.Context, _ []string) error {
			for ctx.Err() == nil {
				fmt.Println("again") // the error is not looked at
			}
			return ctx.Err()
		}},
		{Name: "write", Temporary: true, Run: func(context.Context, []string) error {
			for {
				if _, err := fmt.Println("again"); err != nil {
					return err
				}
			}
		}},
	}}
	p.Main()
}

func TestIndent(t *testing.T) {
	text := strings.Repeat("word ", 40) + strings.Repeat("x", 100)
	for i, line := range strings.Split(Indent(text, "  "), "\n") {
		if !strings.HasPrefix(line, "  ") || len(line) > 80 && line != "  "+strings.Repeat("x", 100) {
			t.Errorf("line %d: %q", i, line)
		}
	}
	if got := strings.Join(strings.Fields(Indent(text, "  ")), " "); got != text {
		t.Errorf("words are missing: %q", got)
	}
}

// start starts the program with its temporary files in the returned folder.
func start(t *testing.T, args ...string) (cmd *exec.Cmd, out io.ReadCloser, temp string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temp = t.TempDir()
	// A program that is started under nohup ignores SIGHUP, unless its parent
	// handles it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	cmd = exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+temp)
	cmd.Stderr = new(bytes.Buffer)
	out, err = cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd, out, temp
}

func readLine(t *testing.T, r io.Reader, want string) {
	t.Helper()
	line := make([]byte, len(want)+1)
	if _, err := io.ReadFull(r, line); err != nil || string(line) != want+"\n" {
		t.Fatalf("got %q, %v, want %q", line, err, want)
	}
}

func checkEmpty(t *testing.T, folder string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"", StatusUsage, "usage: program"},
		{"help", 0, ""},
		{"fly", StatusUsage, `unknown subcommand "fly"`},
		{"value -nonsense", StatusUsage, "-nonsense"},
		{"value surplus", StatusUsage, `unexpected argument "surplus"`},
		{"value -help", 0, "Usage of value"},
		{"value", StatusUsage, "program: bad value: 7\n"},
		{"fail", StatusFailed, "program: failed\n"},
	} {
		cmd, _, _ := start(t, strings.Fields(c.args)...)
		_ = cmd.Wait() // the status is looked at
		if said := cmd.Stderr.(*bytes.Buffer).String(); cmd.ProcessState.ExitCode() != c.status || !strings.Contains(said, c.says) {
			t.Errorf("%q: status %d, %q; want %d, %q", c.args, cmd.ProcessState.ExitCode(), said, c.status, c.says)
		}
	}
}

var endings = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// TestSignal: whichever signal ends the program, its temporary files are gone.
func TestSignal(t *testing.T) {
	for _, s := range endings {
		cmd, out, temp := start(t, "wait")
		readLine(t, out, "waiting")
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != StatusFailed {
			t.Errorf("%v: status %d", s, code)
		}
		checkEmpty(t, temp)
	}
}

// TestSecondSignal ends a program that takes too long to end in order.
func TestSecondSignal(t *testing.T) {
	for _, s := range endings {
		cmd, out, temp := start(t, "wait", strconv.Itoa(int(s)))
		readLine(t, out, "waiting")
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		readLine(t, out, "ending")
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 128+int(s) {
			t.Errorf("%v: status %d", s, code)
		}
		checkEmpty(t, temp)
	}
}

// TestIgnoredHangup: under nohup a program outlives its terminal.
func TestIgnoredHangup(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // else it may be ignored already
	for script, want := range map[string]string{`trap '' HUP; exec "$0" ignored`: "true\n", `exec "$0" ignored`: "false\n"} {
		cmd := exec.Command("sh", "-c", script, self)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		if out, err := cmd.Output(); err != nil || string(out) != want {
			t.Errorf("%s: got %q, %v, want %q", script, out, err, want)
		}
	}
}

// TestBrokenPipe: a reader that goes away ends the program in order, whether or
// not it looks at what its writes return.
func TestBrokenPipe(t *testing.T) {
	for _, name := range []string{"write", "listen"} {
		cmd, out, temp := start(t, name)
		readLine(t, out, "again")
		_ = out.Close()
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != StatusFailed {
			t.Errorf("%s: status %d: %s", name, code, cmd.Stderr)
		}
		checkEmpty(t, temp)
	}
}

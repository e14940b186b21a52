package process

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPipesAndStop(t *testing.T) {
	p, err := Start(Spec{Name: "cat", Path: "/bin/cat", Pipes: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Died(); err != nil {
		t.Errorf("runs, but: %v", err)
	}
	if _, err := io.WriteString(p.Stdin, "hello\n"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	if _, err := io.ReadFull(p.Stdout, b); err != nil || string(b) != "hello\n" {
		t.Errorf("got %q, %v", b, err)
	}
	if err := p.Stop(time.Minute); err != nil {
		t.Error(err)
	}
}

func TestEndOfInputEndsIt(t *testing.T) {
	p, err := Start(Spec{Name: "cat", Path: "/bin/cat", Pipes: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

func TestDied(t *testing.T) {
	p, err := Start(Spec{
		Name: "server", Path: "/bin/sh", Env: []string{"WHY=port taken"},
		Args: []string{"-c", "echo starting; echo \"$WHY\" >&2; exit 3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	err = p.Died()
	if !errors.Is(err, ErrDied) || !strings.Contains(err.Error(), "server: exit status 3: port taken") {
		t.Errorf("got %v", err)
	}
	if err := p.Wait(); !errors.Is(err, ErrDied) {
		t.Errorf("Wait: %v", err)
	}
	if err := p.Stop(time.Minute); !errors.Is(err, ErrDied) {
		t.Errorf("Stop: %v", err)
	}
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	p, err := Start(Spec{Name: "deaf", Path: "/bin/sh", Pipes: true, Args: []string{"-c", "trap '' TERM; echo ready; read line"}})
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	if _, err := io.ReadFull(p.Stdout, b); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(10 * time.Millisecond); err != nil {
		t.Error(err)
	}
}

func TestBareEnvironment(t *testing.T) {
	t.Setenv("SEND_QUEUE", "from outside")
	for bare, want := range map[bool]string{true: "none own\n", false: "from outside own\n"} {
		p, err := Start(Spec{
			Name: "sh", Path: "/bin/sh", Pipes: true, Bare: bare, Env: []string{"OWN=own"},
			Args: []string{"-c", "echo ${SEND_QUEUE:-none} $OWN"},
		})
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(p.Stdout)
		if err != nil || string(said) != want {
			t.Errorf("bare %v: got %q, %v, want %q", bare, said, err, want)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestNoSuchProgram(t *testing.T) {
	for _, pipes := range []bool{false, true} {
		if _, err := Start(Spec{Name: "nothing", Path: "/nonexistent", Pipes: pipes}); err == nil || !strings.Contains(err.Error(), "nothing") {
			t.Errorf("got %v", err)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var t1 tail
	for range 100 {
		if _, err := t1.Write([]byte(strings.Repeat("x", 99) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := t1.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	if got := t1.lastLine(); got != "the end" || len(t1.b) != tailSize {
		t.Errorf("got %q of %d bytes", got, len(t1.b))
	}
}

//go:build linux

package optimized

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/tandem-ws/tandem/modes"
)

// clients is another process that holds idle connections to an engine.
type clients struct {
	t      *testing.T
	orders io.Writer
	answer *bufio.Scanner
}

// startClients starts a process of clients, which ends with the test.
func startClients(t *testing.T, addr string) *clients {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), clientsEnv+"="+addr)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The end of its orders is the end of the process.
		_ = orders.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("process of clients: %v: %s", err, complaint.Bytes())
		}
	})
	return &clients{t: t, orders: orders, answer: bufio.NewScanner(answers)}
}

// order has the process do something, and waits until it is done.
func (c *clients) order(format string, args ...any) {
	c.t.Helper()
	order := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(c.orders, order); err != nil {
		c.t.Fatalf("order %q: %v", order, err)
	}
	if !c.answer.Scan() || c.answer.Text() != "done" {
		c.t.Fatalf("order %q: answer %q", order, c.answer.Text())
	}
}

// serveClients is the process of clients: it obeys orders until there are no
// more. "connect n" makes the connections n in all, "expect s" waits until each
// has received a message that ends in s.
func serveClients(addr string, orders io.Reader, answers io.Writer) error {
	var all []net.Conn
	for lines := bufio.NewScanner(orders); lines.Scan(); {
		verb, argument, _ := strings.Cut(lines.Text(), " ")
		var err error
		switch verb {
		case "connect":
			all, err = connect(all, addr, argument)
		case "expect":
			err = expect(all, argument)
		default:
			err = errors.New("unknown order")
		}
		if err != nil {
			return fmt.Errorf("order %q: %w", lines.Text(), err)
		}
		if _, err := fmt.Fprintln(answers, "done"); err != nil {
			return err
		}
	}
	return nil
}

// connect opens sessions until there are count of them, several at a time.
func connect(all []net.Conn, addr, count string) ([]net.Conn, error) {
	var want int
	if _, err := fmt.Sscan(count, &want); err != nil {
		return nil, err
	}
	have := len(all)
	all = append(all, make([]net.Conn, want-have)...)
	return all, each(all[have:], func(slot *net.Conn) (err error) {
		*slot, err = openSession(addr)
		return err
	})
}

func openSession(addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, early, _, err := ws.Dial(ctx, "ws://"+addr+modes.PathCentrifuge)
	if err != nil {
		return nil, err
	}
	if early != nil {
		return nil, errors.New("the server speaks first")
	}
	if err := wsutil.WriteClientText(conn, []byte(`{"id":1,"connect":{"subs":{"news":{}}}}`)); err != nil {
		return nil, err
	}
	return conn, expectMessage(conn, `"news":{"recoverable":true}}}}`)
}

func expect(all []net.Conn, suffix string) error {
	return each(all, func(conn *net.Conn) error { return expectMessage(*conn, suffix) })
}

func expectMessage(conn net.Conn, suffix string) error {
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	message, err := wsutil.ReadServerText(conn)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(string(message), suffix) {
		return fmt.Errorf("got %s, want a message that ends in %s", message, suffix)
	}
	return nil
}

// each calls f with every connection, from several goroutines.
func each(all []net.Conn, f func(*net.Conn) error) error {
	const workers = 16
	errs := make([]error, workers)
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := w; i < len(all) && errs[w] == nil; i += workers {
				errs[w] = f(&all[i])
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Serve runs a load process: it reads commands from in and writes answers to out until
// a quit command, the end of in, or the end of ctx, and then closes all connections
// and in. Closing in must end a pending Read. It returns an error only if it cannot
// continue; the error of a command is in its answer.
func Serve(ctx context.Context, in io.ReadCloser, out io.Writer) error {
	if err := raiseFileLimit(); err != nil {
		return err
	}
	answers := make(chan snapshot, 64)
	l, err := newLoop(answers)
	if err != nil {
		return err
	}
	defer l.release()

	written := make(chan error, 1)
	go func() { written <- write(out, answers) }()
	read := make(chan struct{})
	rejects := make(chan struct{}) // closed when the loop takes no more
	go func() {
		defer close(read)
		l.readCommands(in, rejects)
	}()
	stop := context.AfterFunc(ctx, func() { _ = in.Close() })

	err = l.run()
	close(rejects)
	stop()
	_ = in.Close() // wakes the reader; the loop is over either way
	<-read
	close(answers)
	return errors.Join(err, <-written)
}

// readCommands sends commands to the loop; the end of in means quit.
func (l *loop) readCommands(in io.Reader, over <-chan struct{}) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			var c Command
			if err := json.Unmarshal(line, &c); err != nil {
				c.problem = bad("not a JSON command: %v", err)
			} else {
				c.problem = c.check()
			}
			if !l.pass(c, over) {
				return
			}
		}
		if err != nil {
			l.pass(Command{Cmd: Quit}, over)
			return
		}
	}
}

func (l *loop) pass(c Command, over <-chan struct{}) bool {
	select {
	case l.commands <- c:
		l.notify()
		return true
	case <-over:
		return false
	}
}

// write completes answers and writes them, one a line, until the channel is closed.
func write(out io.Writer, answers <-chan snapshot) error {
	var failed error
	for s := range answers {
		if failed != nil {
			continue // the loop must not wait for a reader that is gone
		}
		a, err := s.complete()
		if err != nil && a.Error == "" {
			a.Error = err.Error()
		}
		line, err := json.Marshal(a)
		if err == nil {
			_, err = out.Write(append(line, '\n'))
		}
		if err != nil {
			failed = fmt.Errorf("load: write answer: %w", err)
		}
	}
	return failed
}

// raiseFileLimit raises the soft limit of descriptors to the hard one.
func raiseFileLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("load: read descriptor limit: %w", err)
	}
	if limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return fmt.Errorf("load: raise descriptor limit to %d: %w", limit.Max, err)
		}
	}
	return nil
}

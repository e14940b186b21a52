package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrEnded means that the load process ended before it answered.
var ErrEnded = errors.New("load: load process ended")

// Client controls one load process over its input and output. Its methods may
// be called by several goroutines at once.
type Client struct {
	in io.WriteCloser

	writing sync.Mutex // held while one line is written

	mu      sync.Mutex // guards what follows
	next    int
	waiting map[int]chan Answer
	ended   bool
	err     error // why, when ended

	over chan struct{} // closed when the answers have ended
}

// NewClient controls the load process that reads from in and writes to out. It
// owns in and closes it on Close; it reads out to its end.
func NewClient(in io.WriteCloser, out io.Reader) *Client {
	c := &Client{in: in, waiting: map[int]chan Answer{}, over: make(chan struct{})}
	go c.read(out)
	return c
}

func (c *Client) read(out io.Reader) {
	defer close(c.over)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var a Answer
			if bad := json.Unmarshal(line, &a); bad != nil {
				err = fmt.Errorf("load: answer %.80q: %w", line, bad)
			} else {
				c.mu.Lock()
				answered := c.waiting[a.ID]
				delete(c.waiting, a.ID)
				c.mu.Unlock()
				if answered != nil {
					answered <- a
				}
			}
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// end fails all waiting calls.
func (c *Client) end(err error) {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended, c.err = true, err
	for id, answered := range c.waiting {
		delete(c.waiting, id)
		close(answered)
	}
}

func (c *Client) endError() error {
	if c.err != nil {
		return fmt.Errorf("%w: %w", ErrEnded, c.err)
	}
	return ErrEnded
}

// Do sends a command, sets its ID, and waits for the answer. The error is ErrEnded if
// the process is gone, that of ctx if it ends first, or the wrapped Error of the
// answer, which is valid in that case too.
func (c *Client) Do(ctx context.Context, command Command) (Answer, error) {
	answered := make(chan Answer, 1)
	c.mu.Lock()
	if c.ended {
		defer c.mu.Unlock()
		return Answer{}, c.endError()
	}
	c.next++
	command.ID = c.next
	c.waiting[command.ID] = answered
	c.mu.Unlock()

	line, err := json.Marshal(command)
	if err != nil {
		return Answer{}, fmt.Errorf("load: encode %s: %w", command.Cmd, err)
	}
	c.writing.Lock()
	_, err = c.in.Write(append(line, '\n'))
	c.writing.Unlock()
	if err != nil {
		c.forget(command.ID)
		return Answer{}, fmt.Errorf("%w: write %s: %w", ErrEnded, command.Cmd, err)
	}
	select {
	case a, ok := <-answered:
		if !ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			return Answer{}, c.endError()
		}
		if a.Error != "" {
			return a, fmt.Errorf("load: %s refused: %s", command.Cmd, a.Error)
		}
		return a, nil
	case <-ctx.Done():
		c.forget(command.ID)
		return Answer{}, fmt.Errorf("load: %s: %w", command.Cmd, ctx.Err())
	}
}

func (c *Client) forget(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// Close ends the load process by ending its input and waits for the end of its output.
func (c *Client) Close() error {
	err := c.in.Close()
	<-c.over
	if err != nil {
		return fmt.Errorf("load: close input: %w", err)
	}
	return nil
}

package rig

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/publish"
)

// Connections says which connections to open.
type Connections struct {
	N int
	// Channel holds %d where every connection has a channel of its own; their
	// numbers count on from call to call.
	Channel string
	// Rcvbuf is the receive buffer of each socket in bytes; 0: the kernel's choice.
	Rcvbuf int
	// Segment is the largest TCP segment in bytes; 0: the kernel's choice.
	Segment int
}

// each gives the command to every load process and returns all answers.
func (r *Rig) each(ctx context.Context, command func(i int) load.Command) ([]load.Answer, error) {
	type outcome struct {
		i   int
		a   load.Answer
		err error
	}
	done := make(chan outcome, len(r.loads))
	for i, p := range r.loads {
		go func() {
			a, err := p.Do(ctx, command(i))
			done <- outcome{i, a, err}
		}()
	}
	answers := make([]load.Answer, len(r.loads))
	var failed error
	for range r.loads {
		o := <-done
		if answers[o.i] = o.a; o.err != nil && failed == nil {
			failed = o.err
		}
	}
	return answers, failed
}

// share is the i-th part of n shared out evenly over the load processes.
func (r *Rig) share(n, i int) int {
	part := n / len(r.loads)
	if i < n%len(r.loads) {
		part++
	}
	return part
}

// Connect opens connections and returns when each is subscribed; one that fails
// is an error. The answers are the load processes' own.
func (r *Rig) Connect(c Connections) ([]load.Answer, error) {
	e := r.o.Arm.External
	first := make([]int, len(r.loads))
	next := r.joined
	for i := range r.loads {
		first[i] = next
		next += r.share(c.N, i)
	}
	answers, err := r.each(r.ctx, func(i int) load.Command {
		n := r.nodes[i%len(r.nodes)]
		command := load.Command{
			Cmd: load.Connect, N: r.share(c.N, i), Target: n.addr, Channel: c.Channel, First: first[i],
			Rcvbuf: c.Rcvbuf, Segment: c.Segment,
			From: fmt.Sprintf("127.0.%d.1", 1+i%200), Sources: 8,
		}
		if e != nil {
			command.Protocol, command.Path = e.Protocol, e.Path
		}
		if command.N == 0 {
			return load.Command{Cmd: load.Idle, MS: 1}
		}
		return command
	})
	if err != nil {
		return nil, err
	}
	r.joined += c.N
	subscribed, failed := 0, map[string]uint64{}
	for i := range answers {
		subscribed += answers[i].Subscribed
		for why, n := range answers[i].Failed {
			failed[why] += n
		}
	}
	if len(failed) > 0 || subscribed < r.joined {
		return nil, fmt.Errorf("%w: only %d of %d connections could be opened: %s", ErrRun, subscribed, r.joined, reasons(failed))
	}
	return answers, nil
}

func reasons(m map[string]uint64) string {
	var list []string
	for why, n := range m {
		list = append(list, fmt.Sprintf("%s (%d)", why, n))
	}
	if slices.Sort(list); len(list) == 0 {
		return "the others were closed by the server"
	}
	return strings.Join(list, ", ")
}

// Do gives one command to every load process, with rates, counts and numbers of
// connections shared out.
func (r *Rig) Do(c load.Command) ([]load.Answer, error) {
	return r.each(r.ctx, func(i int) load.Command {
		part := c
		part.Rate = c.Rate / float64(len(r.loads))
		if c.Count > 0 {
			part.Count = r.share(c.Count, i)
		}
		if c.N > 0 {
			part.N = r.share(c.N, i)
		}
		return part
	})
}

// Idle waits while the load processes take in what comes.
func (r *Rig) Idle(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// Publisher publishes to the server's channels from outside.
type Publisher interface {
	Publish(ctx context.Context, plan publish.Plan) (publish.Result, error)
	// Sent are the last sequence numbers, by channel number.
	Sent() []uint32
	Close() error
}

// Publisher returns a publisher to channel, which holds %d where there are that
// many of them. The caller closes it. after are sequence numbers to count on
// from; nil: from 1.
func (r *Rig) Publisher(channel string, channels int, after []uint32) (Publisher, error) {
	url, prefix := "", ""
	switch e := r.o.Arm.External; {
	case e == nil:
		url = r.redis.url()
	case e.API != "":
		return newHTTPPublisher(e, channel, channels, after), nil
	default:
		url, prefix = e.Redis, e.Prefix
	}
	p, err := publish.New(r.ctx, publish.Options{URL: url, Prefix: prefix, Channel: channel, Channels: channels, After: after})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRun, err)
	}
	return p, nil
}

// Publish carries out a plan and notes how late the publisher was. A plan that was
// cut short is an error.
func (r *Rig) Publish(p Publisher, plan publish.Plan) (publish.Result, error) {
	result, err := p.Publish(r.ctx, plan)
	r.late = max(r.late, result.Late)
	if err == nil && r.ctx.Err() != nil {
		err = context.Cause(r.ctx)
	}
	return result, err
}

// Settle waits until every connection has received all that p published, at most
// for limit; what is missing then counts as lost.
func (r *Rig) Settle(p Publisher, limit time.Duration) ([]load.Answer, error) {
	return r.Do(load.Command{Cmd: load.Settle, LastEach: p.Sent(), TimeoutMS: int(limit.Milliseconds())})
}

// Mark makes every connection count from the first message on.
func (r *Rig) Mark(next ...uint32) error {
	c := load.Command{Cmd: load.Mark, Next: 1}
	if len(next) > 0 {
		c.Next, c.NextEach = 0, next
	}
	_, err := r.Do(c)
	return err
}

package testbed

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/workload"
)

// Connections describes connections to open.
type Connections struct {
	N int
	// Channel holds %d if every connection has a channel of its own, with numbers that
	// continue from call to call.
	Channel string
	// Rcvbuf is the receive buffer of each socket in bytes; 0 means the kernel's
	// choice.
	Rcvbuf int
	// Segment is the largest TCP segment in bytes; 0 means the kernel's choice.
	Segment int
}

// each sends the command to every load process and returns all answers.
func (r *Testbed) each(ctx context.Context, command func(i int) load.Command) ([]load.Answer, error) {
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

// share returns the i-th part of n if it is divided among the load processes.
func (r *Testbed) share(n, i int) int {
	part := n / len(r.loads)
	if i < n%len(r.loads) {
		part++
	}
	return part
}

// Connect opens connections and waits until each is subscribed. One that fails is an
// error. It returns the answers of the load processes.
func (r *Testbed) Connect(c Connections) ([]load.Answer, error) {
	e := r.o.Variant.External
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

// Do sends one command to every load process, with rates, counts and numbers of
// connections divided among them.
func (r *Testbed) Do(c load.Command) ([]load.Answer, error) {
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

// Idle waits while the load processes receive messages.
func (r *Testbed) Idle(d time.Duration) error {
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
	Publish(ctx context.Context, plan workload.Plan) (workload.Result, error)
	// Sent returns the last sequence numbers by channel number.
	Sent() []uint32
	Close() error
}

// Publisher returns a publisher to channel, which holds %d if there are several of
// them. The caller closes it. Sequence numbers continue after those in after; nil
// means that they start at 1.
func (r *Testbed) Publisher(channel string, channels int, after []uint32) (Publisher, error) {
	url, prefix := "", ""
	switch e := r.o.Variant.External; {
	case e == nil:
		url = r.redis.URL()
	case e.API != "":
		return newHTTPPublisher(e, channel, channels, after), nil
	default:
		url, prefix = e.Redis, e.Prefix
	}
	p, err := workload.NewPublisher(r.ctx, workload.Options{URL: url, Prefix: prefix, Channel: channel, Channels: channels, After: after})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRun, err)
	}
	return p, nil
}

// Publish carries out a plan and records how late the publisher was. A plan that was
// cut short is an error.
func (r *Testbed) Publish(p Publisher, plan workload.Plan) (workload.Result, error) {
	result, err := p.Publish(r.ctx, plan)
	r.late = max(r.late, result.Late)
	if err == nil && r.ctx.Err() != nil {
		err = context.Cause(r.ctx)
	}
	return result, err
}

// Settle waits until every connection has received everything that p published, or
// limit has passed: then what is missing counts as lost.
func (r *Testbed) Settle(p Publisher, limit time.Duration) ([]load.Answer, error) {
	return r.Do(load.Command{Cmd: load.Settle, LastEach: p.Sent(), TimeoutMS: int(limit.Milliseconds())})
}

// Mark makes every connection count from the first message on.
func (r *Testbed) Mark(next ...uint32) error {
	c := load.Command{Cmd: load.Mark, Next: 1}
	if len(next) > 0 {
		c.Next, c.NextEach = 0, next
	}
	_, err := r.Do(c)
	return err
}

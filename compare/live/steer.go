package live

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/workload"
)

const (
	connectRate = 2000 // a second, for each variant
	// connectStep is how many connections one command opens, so that a change of
	// settings does not wait for the previous one.
	connectStep = 250
	// checkEvery is how often the number of connections is checked: a server at its
	// limit disconnects some, which must be opened again.
	checkEvery = time.Second
)

// steer adapts the variant's connections to the settings until ctx ends. An error
// means that the load process is gone.
func (a *variant) steer(ctx context.Context, c *controls) error {
	var channels int // that the connections are spread over
	var made int
	for {
		want, changed := c.get()
		command := load.Command{Cmd: load.Idle} // answered at once, with the state
		state, err := a.load.Do(ctx, command)
		if err != nil {
			return a.loadError(ctx, err)
		}
		have, failed := state.Connected+state.Connecting, state.FailedTotal()
		switch {
		case have > 0 && channels != want.Channels:
			command = load.Command{Cmd: load.Disconnect}
		case have > want.Connections:
			command = load.Command{Cmd: load.Disconnect, N: have - want.Connections}
		case have < want.Connections:
			channels = want.Channels
			n := min(want.Connections-have, connectStep)
			command = load.Command{
				Cmd: load.Connect, N: n, Rate: connectRate, Target: a.public, From: a.source,
				Channel: channel, Channels: channels, First: made % channels,
			}
			made += n
		}
		done := command.Cmd == load.Idle
		if !done {
			if state, err = a.load.Do(ctx, command); err != nil {
				return a.loadError(ctx, err)
			}
		}
		if !done && state.FailedTotal() == failed {
			continue
		}
		// all is as it should be, or the server refuses: asking at once would not help
		select {
		case <-changed:
		case <-time.After(checkEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// loadError returns nil after the end of ctx, and otherwise what happened to the load.
func (a *variant) loadError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, load.ErrEnded) {
		select {
		case <-a.load.Done():
			return a.load.Died()
		case <-time.After(stopGrace):
		}
	}
	return err
}

// publishAll publishes according to the settings until ctx ends or Redis is gone.
func publishAll(ctx context.Context, p *workload.Publisher, c *controls) error {
	for ctx.Err() == nil {
		want, changed := c.get()
		if want.Rate == 0 {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		until, stop := context.WithCancel(ctx)
		over := make(chan struct{})
		go func() {
			defer close(over)
			select {
			case <-changed:
				stop()
			case <-until.Done():
			}
		}()
		_, err := p.Publish(until, workload.Plan{Rate: float64(want.Rate), Size: want.Size, Channels: want.Channels})
		stop()
		<-over
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

package idiomatic

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// httpDrainTime is what plain HTTP requests get to finish once the last
// WebSocket connection is gone.
const httpDrainTime = time.Second

// Drain implements modes.Engine. The error wraps ctx's; the connections that are
// left then are closed by Serve. Only the first call counts, any other waits for
// it.
func (e *Engine) Drain(ctx context.Context, spread time.Duration) (err error) {
	e.drain.Do(func() {
		defer close(e.drained)
		err = e.closeAll(ctx, spread)
	})
	return err
}

func (e *Engine) closeAll(ctx context.Context, spread time.Duration) error {
	remaining := e.refuseNew()
	// A listener that is closed already is what we want.
	_ = e.listener.Close()
	if err := pace(ctx, spread, remaining); err != nil {
		return err
	}
	select {
	case <-e.gone:
	case <-ctx.Done():
		return fmt.Errorf("idiomatic: drain: %w", ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, httpDrainTime)
	defer cancel()
	// Requests that take longer are cut by Serve.
	_ = e.server.Shutdown(ctx)
	return nil
}

// pace closes the connections, evenly over spread.
func pace(ctx context.Context, spread time.Duration, connections []*connection) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	for i, c := range connections {
		due := start.Add(spread / time.Duration(len(connections)) * time.Duration(i))
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return fmt.Errorf("idiomatic: drain: %w", ctx.Err())
			}
		}
		c.close(goodbye(wire.DisconnectShutdown))
	}
	return nil
}

// refuseNew lets no connection in any more and returns those that are.
func (e *Engine) refuseNew() []*connection {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.draining = true
	if len(e.connections) == 0 {
		e.closeGone()
	}
	remaining := make([]*connection, 0, len(e.connections))
	for _, c := range e.connections {
		remaining = append(remaining, c)
	}
	return remaining
}

package node

import (
	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/idiomatic"
	"github.com/tandem-ws/tandem/modes/optimized"
	"github.com/tandem-ws/tandem/server/config"
)

// newEngine binds the address with the engine that MODE names.
func newEngine(c *config.Config, shared modes.Config) (modes.Engine, error) {
	// Each case returns the error first: a nil *Engine in an interface is not
	// a nil interface.
	if c.Mode == config.Optimized {
		engine, err := optimized.New(shared, optimized.Options{
			Loops: c.Loops, Workers: c.Workers, ScheduleTimeout: c.ScheduleTimeout,
		})
		if err != nil {
			return nil, err
		}
		return engine, nil
	}
	engine, err := idiomatic.New(shared, idiomatic.Options{
		ReadBufferSize: c.ReadBufferSize, WriteBufferSize: c.WriteBufferSize,
		WriteBufferPool: c.WriteBufferPool, SendQueue: c.SendQueue,
	})
	if err != nil {
		return nil, err
	}
	return engine, nil
}

package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/process"
)

// variants is the number of servers that run side by side.
const variants = 2

// modes are the names of the variants.
var modes = [variants]string{"idiomatic", "optimized"}

const (
	stopGrace = 3 * time.Second
	channel   = "live-%d"
)

// variant is a server of one mode and the load process of its connections.
type variant struct {
	mode     string
	server   *process.Process
	load     *load.Process
	public   string // host:port
	internal string // host:port
	source   string // first source address of its connections
	idle     uint64 // bytes of PSS before the first connection
}

// startVariant starts both processes and waits until the server is ready. The caller
// ends the variant with stop; after an error nothing is left running.
func startVariant(ctx context.Context, i int, program, redis string, on placement, stderr io.Writer) (_ *variant, err error) {
	n, err := node.StartReady(ctx, node.Options{
		Program: program, Mode: modes[i], Redis: redis, CPUs: on.server[i],
		Env: []string{"REDIS_PREFIX=", "LOG_LEVEL=error", "MAX_CONNECTIONS=0", "CONNECT_RATE=0", "DRAIN_TIME=0s"},
	})
	if err != nil {
		return nil, err
	}
	a := &variant{
		mode: modes[i], source: fmt.Sprintf("127.0.%d.1", i+1),
		server: n.Process, public: n.Options.Public, internal: n.Options.Internal,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.stop())
		}
	}()
	memory, err := a.server.Memory()
	if err != nil {
		return nil, err
	}
	a.idle = memory.PSS
	a.load, err = load.Start(stderr, on.load[i]...)
	return a, err
}

// stop ends both processes and waits for them. The load is ended first, so that its
// side closes the connections.
func (a *variant) stop() error {
	var loaded error
	if a.load != nil {
		stuck := time.AfterFunc(stopGrace, func() {
			_ = a.load.Signal(os.Kill) // an error means that it has ended meanwhile
		})
		loaded = a.load.Stop()
		stuck.Stop()
	}
	return errors.Join(loaded, a.server.Stop(stopGrace))
}

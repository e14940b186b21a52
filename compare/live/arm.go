package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/process"
)

// arms is how many servers run side by side.
const arms = 2

// modes are the arms' names, in the order of everything that has one for each.
var modes = [arms]string{"idiomatic", "optimized"}

const (
	startLimit = 20 * time.Second
	stopGrace  = 3 * time.Second
	channel    = "live-%d"
)

// arm is a server of one mode and the load process that its connections come
// from.
type arm struct {
	mode     string
	server   *process.Process
	load     *load.Process
	public   string // host:port
	internal string // host:port
	source   string // first source address of its connections
	idle     uint64 // bytes of PSS before the first connection
}

// startArm starts both processes and returns once the server is ready. The
// caller ends the arm with stop; on an error nothing is left running.
func startArm(ctx context.Context, i int, program, redisURL string, on placement, client *http.Client, stderr io.Writer) (_ *arm, err error) {
	a := &arm{mode: modes[i], source: fmt.Sprintf("127.0.%d.1", i+1)}
	for _, address := range []*string{&a.public, &a.internal} {
		port, err := process.FreePort()
		if err != nil {
			return nil, err
		}
		*address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	a.server, err = process.Start(process.Spec{
		Name: a.mode + " server", Path: program, CPUs: on.server[i],
		Env: []string{
			"MODE=" + a.mode, "ADDR=" + a.public, "INTERNAL_ADDR=" + a.internal,
			"REDIS_URL=" + redisURL, "REDIS_PREFIX=", "LOG_LEVEL=error", "LOG_FORMAT=text",
			"MAX_CONNECTIONS=0", "CONNECT_RATE=0", "DRAIN_TIME=0s",
		},
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.stop())
		}
	}()
	if err := a.awaitReady(ctx, client); err != nil {
		return nil, err
	}
	memory, err := a.server.Memory()
	if err != nil {
		return nil, err
	}
	a.idle = memory.PSS
	a.load, err = load.Start(stderr, on.load[i]...)
	return a, err
}

func (a *arm) awaitReady(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit,
		fmt.Errorf("live: the %s server was not ready within %v", a.mode, startLimit))
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.internal+"/readyz", nil)
		if err != nil {
			return fmt.Errorf("live: ask the %s server: %w", a.mode, err)
		}
		if response, err := client.Do(request); err == nil {
			_ = response.Body.Close() // the status says it all
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-a.server.Done():
			return a.server.Died()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends both processes and waits for them. The load goes first, so that its
// connections are closed from their own side.
func (a *arm) stop() error {
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

package anchor

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/node"
	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/redisserver"
)

// kind is what a subject supports, each more than the one before.
type kind int

const (
	oneChannel  kind = iota // the floor
	anyChannel              // a peer
	withMetrics             // a server
)

// subject is a program that is measured.
type subject struct {
	name     string
	kind     kind
	protocol string
	// start starts it and waits until it takes connections.
	start func(ctx context.Context, redis *redisserver.Server) (started, error)
}

// started is a subject's process, where clients connect to it and, if it is a
// server, where its metrics are.
type started struct {
	*process.Process
	target, internal string
}

// floorSubject is the floor program.
func floorSubject(program string, cpu int) subject {
	return bareSubject("floor", program, cpu, oneChannel)
}

// peerSubject is a program that is started and spoken to like the floor.
func peerSubject(peer Peer, cpu int) subject {
	return bareSubject(peer.Name, peer.Program, cpu, anyChannel)
}

func bareSubject(name, program string, cpu int, kind kind) subject {
	return subject{name: name, kind: kind, protocol: load.Floor,
		start: func(ctx context.Context, redis *redisserver.Server) (started, error) {
			port, err := process.FreePort()
			if err != nil {
				return started{}, err
			}
			p, err := process.Start(process.Spec{
				Name: "floor", Path: program, CPUs: []int{cpu}, Env: []string{"GOMAXPROCS=1"},
				Args: []string{strconv.Itoa(port), strconv.Itoa(redis.Port())},
			})
			if err != nil {
				return started{}, err
			}
			s := started{Process: p, target: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
			return s, s.awaitPort(ctx)
		}}
}

// awaitPort waits until the process listens.
func (s started) awaitPort(ctx context.Context) error {
	for began := time.Now(); ; {
		c, err := net.Dial("tcp", s.target)
		if err == nil {
			return c.Close()
		}
		if time.Since(began) > readyTime {
			return fmt.Errorf("anchor: not ready after %v: %w", readyTime, err)
		}
		select {
		case <-s.Done():
			return s.Died()
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// serverSubject is a Tandem server, or another that takes its settings.
func serverSubject(o Options) subject {
	return subject{name: o.Name, kind: withMetrics, protocol: o.Protocol,
		start: func(ctx context.Context, redis *redisserver.Server) (started, error) {
			n, err := node.StartReady(ctx, node.Options{
				Name: o.Name, Program: o.Server, Redis: redis.Addr(), CPUs: []int{o.ServerCPU},
				Env: append([]string{"GOMAXPROCS=1", "LOG_LEVEL=error"}, o.Env...),
			})
			if err != nil {
				return started{}, err
			}
			return started{n.Process, n.Options.Public, n.Options.Internal}, nil
		}}
}

// bench is a running subject with its own Redis and load process.
type bench struct {
	subject
	redis  *redisserver.Server
	server started
	load   *load.Process
}

const readyTime = 15 * time.Second

// awake is how long the load keeps polling after a message before it sleeps: longer
// than the pauses of every scenario with a steady rate.
const awake = 50 * time.Millisecond

// set starts everything. The load sleeps between messages if sleeps is set. The caller
// calls clear.
func set(ctx context.Context, s subject, loadCPU int, sleeps bool) (_ *bench, err error) {
	b := &bench{subject: s}
	defer func() {
		if err != nil {
			b.clear()
		}
	}()
	if b.redis, err = redisserver.Start(redisserver.Options{CPUs: []int{loadCPU}}); err != nil {
		return nil, err
	}
	if b.server, err = s.start(ctx, b.redis); err != nil {
		return nil, fmt.Errorf("anchor: start %s: %w", s.name, err)
	}
	if b.load, err = load.Start(nil, loadCPU); err != nil || sleeps {
		return b, err
	}
	_, err = b.load.Do(ctx, load.Command{Cmd: load.Awake, MS: int(awake / time.Millisecond)})
	return b, err
}

// clear ends all processes.
func (b *bench) clear() {
	const grace = 200 * time.Millisecond // what was to be measured has been measured
	if b.load != nil {
		_ = b.load.Process.Stop(grace)
		_ = b.load.Close()
	}
	if b.server.Process != nil {
		_ = b.server.Stop(grace)
	}
	if b.redis != nil {
		_ = b.redis.Stop(grace)
	}
}

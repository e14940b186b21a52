package anchor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/tandem-ws/tandem/compare/load"
	"github.com/tandem-ws/tandem/compare/process"
)

// kind is what a subject can do, each more than the one before.
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
	// spec of the process that listens on port and takes messages from redis.
	spec func(port, internal int, redis *process.Redis) process.Spec
	// ready says whether the started process can be connected to.
	ready func(ctx context.Context, port, internal int) error
}

// floorSubject is the floor program.
func floorSubject(program string, cpu int) subject {
	return subject{
		name: "floor", kind: oneChannel, protocol: load.Floor,
		spec: func(port, _ int, redis *process.Redis) process.Spec {
			return process.Spec{
				Name: "floor", Path: program, CPUs: []int{cpu}, Env: []string{"GOMAXPROCS=1"},
				Args: []string{strconv.Itoa(port), strconv.Itoa(redis.Port)},
			}
		},
		ready: func(_ context.Context, port, _ int) error {
			c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				return err
			}
			return c.Close()
		},
	}
}

// peerSubject is a program that is started and spoken to like the floor.
func peerSubject(peer Peer, cpu int) subject {
	s := floorSubject(peer.Program, cpu)
	s.name, s.kind = peer.Name, anyChannel
	return s
}

// serverSubject is a Tandem server, or another that takes its settings.
func serverSubject(o Options) subject {
	return subject{
		name: o.Name, kind: withMetrics, protocol: o.Protocol,
		spec: func(port, internal int, redis *process.Redis) process.Spec {
			env := []string{
				"GOMAXPROCS=1",
				"ADDR=127.0.0.1:" + strconv.Itoa(port),
				"INTERNAL_ADDR=127.0.0.1:" + strconv.Itoa(internal),
				"REDIS_URL=" + redis.URL(),
				"LOG_LEVEL=error",
			}
			return process.Spec{Name: o.Name, Path: o.Server, CPUs: []int{o.ServerCPU}, Env: append(env, o.Env...)}
		},
		ready: func(ctx context.Context, _, internal int) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", internal), nil)
			if err != nil {
				return err
			}
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
			answer, err := client.Do(request)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, answer.Body)
			if err == nil && answer.StatusCode != http.StatusOK {
				err = errors.New("readyz: " + answer.Status)
			}
			return errors.Join(err, answer.Body.Close())
		},
	}
}

// bench is a subject running with a Redis and a load process of its own.
type bench struct {
	subject
	redis    *process.Redis
	server   *process.Process
	load     *load.Process
	target   string
	internal string // where its metrics are
}

const readyTime = 15 * time.Second

// awake is how long the load goes on looking after anything came, before it
// sleeps: longer than the pauses of every scenario with a rate worth the name.
const awake = 50 * time.Millisecond

// set starts everything afresh; the load sleeps whenever there is nothing, or
// stays awake. The caller calls clear.
func set(ctx context.Context, s subject, loadCPU int, sleeps bool) (_ *bench, err error) {
	b := &bench{subject: s}
	defer func() {
		if err != nil {
			b.clear()
		}
	}()
	if b.redis, err = process.StartRedis(loadCPU); err != nil {
		return nil, err
	}
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	internal, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	if b.server, err = process.Start(s.spec(port, internal, b.redis)); err != nil {
		return nil, err
	}
	b.target = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	b.internal = net.JoinHostPort("127.0.0.1", strconv.Itoa(internal))
	for began := time.Now(); ; {
		if err = s.ready(ctx, port, internal); err == nil {
			break
		}
		if time.Since(began) > readyTime {
			return nil, fmt.Errorf("anchor: %s is not ready after %v: %w", s.name, readyTime, err)
		}
		select {
		case <-b.server.Done():
			return nil, b.server.Died()
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	if b.load, err = load.Start(nil, loadCPU); err != nil || sleeps {
		return b, err
	}
	_, err = b.load.Do(ctx, load.Command{Cmd: load.Awake, MS: int(awake / time.Millisecond)})
	return b, err
}

// clear ends all processes, whatever state they are in.
func (b *bench) clear() {
	const grace = 200 * time.Millisecond // what was to be measured has been measured
	if b.load != nil {
		_ = b.load.Process.Stop(grace)
		_ = b.load.Close()
	}
	if b.server != nil {
		_ = b.server.Stop(grace)
	}
	if b.redis != nil {
		_ = b.redis.Stop(grace)
	}
}

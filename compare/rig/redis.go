package rig

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/tandem-ws/tandem/compare/process"
)

// redis is the Redis of one run: redis-server, or the embedded one in a process
// of its own.
type redis struct {
	*process.Process
	port    int
	unwatch func()
}

func (r *redis) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }
func (r *redis) url() string  { return "redis://" + r.addr() }

func startRedis(ctx context.Context, o Options) (*redis, error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	return startRedisOn(ctx, o, port)
}

func startRedisOn(ctx context.Context, o Options, port int) (*redis, error) {
	if !o.Embedded {
		server, err := process.StartRedisOn(port, o.CPUs.Redis...)
		if err != nil {
			return nil, err
		}
		return &redis{Process: server.Process, port: port}, nil
	}
	p, err := process.Start(process.Spec{
		Name: "embedded Redis", Path: o.Self, CPUs: o.CPUs.Redis, Stderr: o.Stderr,
		Args: []string{"redis", "-port", strconv.Itoa(port)},
	})
	if err != nil {
		return nil, err
	}
	r := &redis{Process: p, port: port}
	err = poll(ctx, 10*time.Second, func() error {
		if err := p.Died(); err != nil {
			return final(err)
		}
		c, err := net.DialTimeout("tcp", r.addr(), time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		_ = p.Stop(0) // the reason is known
		return nil, fmt.Errorf("%w: embedded Redis: %w", ErrRun, err)
	}
	return r, nil
}

// ServeEmbedded serves an embedded Redis on that port of loopback until ctx ends.
func ServeEmbedded(ctx context.Context, port int) error {
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
		return fmt.Errorf("%w: embedded Redis: %w", ErrRun, err)
	}
	<-ctx.Done()
	server.Close()
	return nil
}

// RedisVersion is what the redis-server that a run would start says of itself;
// ok is false where there is none.
func RedisVersion(ctx context.Context) (version string, ok bool) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		if err != nil {
			return name, true
		}
		for _, field := range strings.Fields(string(out)) {
			if v, found := strings.CutPrefix(field, "v="); found {
				return name + " " + v, true
			}
		}
		return name + " " + string(bytes.TrimSpace(out)), true
	}
	return "", false
}

// KillRedis kills this run's Redis, as a crash would.
func (r *Rig) KillRedis() error {
	if r.redis == nil {
		return fmt.Errorf("%w: the Redis of an external server is not ours to kill", ErrRun)
	}
	r.redis.unwatch()
	return r.redis.Stop(0)
}

// ReviveRedis starts Redis on the port that KillRedis has freed, and returns when
// it answers.
func (r *Rig) ReviveRedis() error {
	fresh, err := startRedisOn(r.ctx, r.o, r.redis.port)
	if err != nil {
		return err
	}
	r.redis = fresh
	fresh.unwatch = r.watch(fresh.Process)
	return nil
}

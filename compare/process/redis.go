package process

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// ErrNoRedis says that there is no redis-server (or valkey-server) program.
var ErrNoRedis = errors.New("process: no redis-server found: install redis-server or valkey")

// Redis is a redis-server of one's own, on loopback, that keeps nothing on disk.
type Redis struct {
	*Process
	Port int
}

// Addr is host:port.
func (r *Redis) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port)) }

// URL is what REDIS_URL takes.
func (r *Redis) URL() string { return "redis://" + r.Addr() }

// StartRedis starts redis-server on a free port and the given CPUs (none: any)
// and waits until it answers.
func StartRedis(cpus ...int) (*Redis, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	return StartRedisOn(port, cpus...)
}

// StartRedisOn is StartRedis on a given port: that of one that was stopped.
func StartRedisOn(port int, cpus ...int) (*Redis, error) {
	var path string
	for _, name := range []string{"redis-server", "valkey-server"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, ErrNoRedis
	}
	p, err := Start(Spec{
		Name: "redis-server", Path: path, CPUs: cpus,
		Args: []string{
			"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
			// a burst may pile up while the server reads: what is measured is the server
			"--client-output-buffer-limit", "pubsub 0 0 0",
		},
	})
	if err != nil {
		return nil, err
	}
	r := &Redis{Process: p, Port: port}
	if err := r.await(10 * time.Second); err != nil {
		return nil, errors.Join(err, p.Stop(time.Second))
	}
	return r, nil
}

// await waits until Redis answers PING.
func (r *Redis) await(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		err := ping(r.Addr())
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process: redis-server on port %d does not answer: %w", r.Port, err)
		}
		select {
		case <-r.Done():
			return r.Died()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func ping(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the answer is in, or the error is known
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "+PONG") {
		return fmt.Errorf("PING answered by %q", line)
	}
	return nil
}

// FreePort is a TCP port on loopback that nothing listens on. Another process
// may take it before the caller does.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("process: find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("process: find a free port: %w", err)
	}
	return port, nil
}

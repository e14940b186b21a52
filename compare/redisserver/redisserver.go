// Package redisserver starts Redis servers, for measurements and for tests of
// faults.
package redisserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/tandem-ws/tandem/compare/process"
)

// ErrNone means that there is no redis-server (or valkey-server) program.
var ErrNone = errors.New("redisserver: no redis-server found: install redis-server or valkey")

// Options configure a server.
type Options struct {
	// Port to listen on; 0 means a free one.
	Port int
	// Addresses to listen on, the first of which is the server's; none means
	// 127.0.0.1.
	Addresses []string
	// CPUs it may run on; none means any.
	CPUs []int
	// Embedded is a program that serves a Redis if it is called with the arguments
	// redis -port PORT. If it is set, it is used instead of redis-server.
	Embedded string
	// Wrap is put before the command.
	Wrap []string
	// Stderr takes the output of an embedded Redis; nil drops it.
	Stderr io.Writer
}

// Server is a running Redis server that keeps nothing on disk. It is used by one
// goroutine.
type Server struct {
	*process.Process
	options Options
}

// Addr returns host:port.
func (s *Server) Addr() string {
	return net.JoinHostPort(s.options.Addresses[0], strconv.Itoa(s.options.Port))
}

// Port returns the port.
func (s *Server) Port() int { return s.options.Port }

// URL returns the URL that REDIS_URL takes.
func (s *Server) URL() string { return "redis://" + s.Addr() }

const startLimit = 10 * time.Second

// Start starts a server and waits until it answers. The caller ends it with Stop.
func Start(o Options) (*Server, error) {
	if len(o.Addresses) == 0 {
		o.Addresses = []string{"127.0.0.1"}
	}
	if o.Port == 0 {
		port, err := process.FreePort()
		if err != nil {
			return nil, err
		}
		o.Port = port
	}
	s := &Server{options: o}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start() error {
	spec, err := s.options.spec()
	if err != nil {
		return err
	}
	if s.Process, err = process.Start(spec); err != nil {
		return err
	}
	if err := s.await(startLimit); err != nil {
		return errors.Join(err, s.Process.Stop(time.Second))
	}
	return nil
}

func (o *Options) spec() (process.Spec, error) {
	port := strconv.Itoa(o.Port)
	if o.Embedded != "" {
		return process.Spec{Name: "embedded Redis", Path: o.Embedded, Args: []string{"redis", "-port", port}, CPUs: o.CPUs, Stderr: o.Stderr}, nil
	}
	path, err := find()
	if err != nil {
		return process.Spec{}, err
	}
	command := append(append([]string(nil), o.Wrap...), path, "--port", port, "--bind")
	command = append(command, o.Addresses...)
	return process.Spec{Name: "redis-server", Path: command[0], CPUs: o.CPUs, Args: append(command[1:],
		"--protected-mode", "no", "--save", "", "--appendonly", "no",
		// A burst may pile up while the server reads: the server is what is measured.
		"--client-output-buffer-limit", "pubsub 0 0 0",
	)}, nil
}

func find() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNone
}

// await waits until the server answers PING.
func (s *Server) await(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		err := ping(s.Addr())
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("redisserver: %s does not answer: %w", s.Addr(), err)
		}
		select {
		case <-s.Done():
			return s.Died()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func ping(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the answer has come, or the error is known
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
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

// Kill ends the process as a crash does. Its port then refuses connections.
func (s *Server) Kill() error {
	if err := s.Signal(os.Kill); err != nil {
		return err
	}
	<-s.Done()
	return nil
}

// Restart starts an empty server on the port of the one that was killed.
func (s *Server) Restart() error {
	var err error
	// A connection of another process may use the port for a moment.
	for range 20 {
		if err = s.start(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("redisserver: restart: %w", err)
}

// Pause stops the process: its sockets stay open, and it does not answer.
func (s *Server) Pause() error { return s.Signal(syscall.SIGSTOP) }

// Resume continues a paused process.
func (s *Server) Resume() error { return s.Signal(syscall.SIGCONT) }

// Stop ends the process within grace, even if it is paused.
func (s *Server) Stop(grace time.Duration) error {
	_ = s.Signal(syscall.SIGCONT) // an error means that it has ended
	return s.Process.Stop(grace)
}

// Serve serves an embedded Redis on a port of loopback until ctx ends.
func Serve(ctx context.Context, port int) error {
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
		return fmt.Errorf("redisserver: embedded Redis: %w", err)
	}
	<-ctx.Done()
	server.Close()
	return nil
}

// Version returns the name and version of the installed redis-server, or ErrNone.
func Version(ctx context.Context) (string, error) {
	path, err := find()
	if err != nil {
		return "", err
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return name, nil // it is there, and does not say
	}
	for field := range strings.FieldsSeq(string(out)) {
		if v, found := strings.CutPrefix(field, "v="); found {
			return name + " " + v, nil
		}
	}
	return name + " " + strings.TrimSpace(string(out)), nil
}

package fault

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/tandem-ws/tandem/compare/process"
)

const stopGrace = 3 * time.Second

// Redis is a redis-server that can be made to fail. It is used by one goroutine.
type Redis struct {
	*process.Redis
}

// StartRedis starts a redis-server. The caller ends it with Stop.
func StartRedis() (*Redis, error) {
	r, err := process.StartRedis()
	if err != nil {
		return nil, err
	}
	return &Redis{r}, nil
}

// Kill ends the process as a crash does. Its port then refuses connections.
func (r *Redis) Kill() error {
	if err := r.Signal(os.Kill); err != nil {
		return err
	}
	<-r.Done()
	return nil
}

// Restart starts an empty redis-server on the port of the one that was killed.
func (r *Redis) Restart() error {
	var err error
	// a connection of another process may use the port for a moment
	for range 20 {
		var next *process.Redis
		if next, err = process.StartRedisOn(r.Port); err == nil {
			r.Redis = next
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("fault: restart: %w", err)
}

// Pause stops the process: its sockets stay open, and it does not answer.
func (r *Redis) Pause() error { return r.Signal(syscall.SIGSTOP) }

// Resume continues a paused process.
func (r *Redis) Resume() error { return r.Signal(syscall.SIGCONT) }

// Stop ends the process, even if it is paused.
func (r *Redis) Stop() error {
	_ = r.Signal(syscall.SIGCONT) // an error means that it has ended
	return r.Redis.Stop(stopGrace)
}

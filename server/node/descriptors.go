package node

import (
	"fmt"
	"os"
	"runtime"

	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/server/config"
)

// Descriptors is what the files that the process may open are for. Everything but the
// sockets of clients is set aside before the first of them is let in, so that the
// internal listener answers whatever happens on the public one.
type Descriptors struct {
	Limit int
	// Reserved is for everything but the sockets of clients, Refused for those of
	// clients that are told that they are too many, Connections for the others.
	Reserved, Refused, Connections int
}

const (
	// internalRequests is how many connections the internal listener has room for.
	internalRequests = 32
	// openFiles is for what is opened for a moment: certificates and keys that are read
	// again, name look-ups, what metrics are read from.
	openFiles = 16
	// minConnections is the room for clients below which it makes no sense to start.
	minConnections = 16
	// maxConnections is the most that MAX_CONNECTIONS may be.
	maxConnections = 100_000_000
)

// PlanDescriptors raises the limit of open files as far as it may be, and plans what
// they are for. The error says what to do if they are too few.
func PlanDescriptors(c *config.Config) (Descriptors, error) {
	limit, err := RaiseDescriptorLimit()
	if err != nil {
		return Descriptors{}, err
	}
	d := Descriptors{Limit: int(min(limit, 2*maxConnections)), Reserved: reserved(c)}
	room := d.Limit - d.Reserved
	d.Refused = min(max(room/16, minConnections/2), admission.DefaultMaxRefused)
	d.Connections = min(room-d.Refused, maxConnections)
	if d.Connections < minConnections {
		return d, fmt.Errorf("tandem: the limit of %d open files is too low for %s: allow %d or more (ulimit -n, LimitNOFILE)%s",
			d.Limit, purpose(c), d.Reserved+4*minConnections, orFewer(c))
	}
	return d, nil
}

// reserved returns how many files are open beside the sockets of clients.
func reserved(c *config.Config) int {
	// Go's poller has two, the internal listener one. A connection to Redis may be
	// replaced by another before it is closed, and commands have connections of their
	// own.
	redis := 2*c.RedisConnections + 8
	if c.RedisURL == "" {
		// The embedded one has the other ends, and a listener.
		redis = 2*redis + 1
	}
	return inherited() + 2 + 1 + internalRequests + openFiles + redis + engineDescriptors(c)
}

// engineDescriptors returns how many an engine has beside the sockets of clients.
func engineDescriptors(c *config.Config) int {
	if c.Mode != config.Optimized {
		// The listener, and a socket that there is no room for until it is closed.
		return 2
	}
	// The same for each loop, and its epoll instance; and a connection's second
	// descriptor on its way to net/http or back.
	return 3*loops(c) + 1
}

func loops(c *config.Config) int {
	if c.Loops > 0 {
		return c.Loops
	}
	return runtime.GOMAXPROCS(0)
}

// inherited returns how many files are open already.
func inherited() int {
	const standard = 3
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return standard
	}
	return max(len(files), standard)
}

// purpose names what the reserve depends on.
func purpose(c *config.Config) string {
	if c.Mode == config.Optimized {
		return fmt.Sprintf("LOOPS=%d and REDIS_CONNECTIONS=%d", loops(c), c.RedisConnections)
	}
	return fmt.Sprintf("REDIS_CONNECTIONS=%d", c.RedisConnections)
}

// orFewer says what else would help.
func orFewer(c *config.Config) string {
	if c.Mode == config.Optimized && loops(c) > 1 {
		return ", or set LOOPS lower"
	}
	return ""
}

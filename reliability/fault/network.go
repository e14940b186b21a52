package fault

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tandem-ws/tandem/compare/process"
	"github.com/tandem-ws/tandem/compare/redisserver"
)

// ErrNoNetwork means that no network namespace can be created.
var ErrNoNetwork = errors.New("fault: a network of one's own needs Linux, root, and ip and tc (iproute2)")

// Network is a network namespace with a redis-server and two links to it. On one of
// them, the kernel can be made to drop every packet. It is used by one goroutine.
type Network struct {
	// Addr is the redis-server over the link that can fail, and Safe over the other.
	Addr, Safe string

	name  string
	link  string // this side's end of the link that can fail
	redis *redisserver.Server
}

var networks atomic.Int32

// run runs a command that prints nothing if it succeeds.
func run(command string, a ...any) error {
	words := strings.Fields(fmt.Sprintf(command, a...))
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("fault: %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// NewNetwork creates a network. The caller ends it with Close. The error is
// ErrNoNetwork if the system does not allow it.
func NewNetwork() (_ *Network, err error) {
	if runtime.GOOS != "linux" {
		return nil, ErrNoNetwork
	}
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	// Names and addresses must be unique. The name of an interface has at most 15
	// letters.
	id := (os.Getpid()*8 + int(networks.Add(1))) % (64 << 8)
	n := &Network{name: fmt.Sprintf("tandem%d", id), link: fmt.Sprintf("td%da", id)}
	host := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", 64+id>>8, id&255, i) }
	n.Addr, n.Safe = net.JoinHostPort(host(2), strconv.Itoa(port)), net.JoinHostPort(host(6), strconv.Itoa(port))
	if err := run("ip netns add %s", n.name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoNetwork, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	for i, near := range []string{n.link, fmt.Sprintf("td%db", id)} {
		far := near + "f"
		for _, command := range []string{
			fmt.Sprintf("ip link add %s type veth peer name %s netns %s", near, far, n.name),
			fmt.Sprintf("ip addr add %s/30 dev %s", host(4*i+1), near),
			fmt.Sprintf("ip link set %s up", near),
			fmt.Sprintf("ip -n %s addr add %s/30 dev %s", n.name, host(4*i+2), far),
			fmt.Sprintf("ip -n %s link set %s up", n.name, far),
		} {
			if err := run("%s", command); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrNoNetwork, err)
			}
		}
	}
	n.redis, err = redisserver.Start(redisserver.Options{
		Port: port, Addresses: []string{host(6), host(2)}, Wrap: []string{"ip", "netns", "exec", n.name},
	})
	return n, err
}

const stopGrace = 3 * time.Second

// Drop drops every packet on Addr's link, in both directions, without notice.
func (n *Network) Drop() error {
	// a queue with no room for a packet
	const drops = "qdisc replace dev %s root bfifo limit 1"
	return errors.Join(run("tc "+drops, n.link), run("tc -n %s "+drops, n.name, n.link+"f"))
}

// Heal lets packets through again.
func (n *Network) Heal() error {
	return errors.Join(run("tc qdisc del dev %s root", n.link), run("tc -n %s qdisc del dev %s root", n.name, n.link+"f"))
}

// Close ends the redis-server and the network.
func (n *Network) Close() error {
	var err error
	if n.redis != nil {
		err = n.redis.Stop(stopGrace)
	}
	// this removes the links as well
	return errors.Join(err, run("ip netns del %s", n.name))
}

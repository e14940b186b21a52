package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Sentinels are three sentinels that watch one master with two replicas.
type Sentinels struct {
	Name      string    // of the master
	Servers   []*Server // the master of the beginning, and its replicas
	Sentinels []*Server
}

// StartSentinels runs all of it until the test ends, and returns once every
// sentinel knows the others and both replicas. args are added to the command lines
// of the servers, and settings, a line each, to the configuration of the sentinels.
func StartSentinels(tb testing.TB, args []string, settings ...string) *Sentinels {
	tb.Helper()
	s := &Sentinels{Name: "mymaster"}
	master := Start(tb, args...)
	host, port, _ := net.SplitHostPort(master.Addr())
	s.Servers = append(s.Servers, master)
	for range 2 {
		s.Servers = append(s.Servers, Start(tb, append([]string{"--replicaof", host, port}, args...)...))
	}
	for range 3 {
		dir := tb.TempDir()
		config := filepath.Join(dir, "sentinel.conf")
		lines := append([]string{
			fmt.Sprintf("sentinel monitor %s %s %s 2", s.Name, host, port),
			"sentinel down-after-milliseconds " + s.Name + " 1000",
			"sentinel failover-timeout " + s.Name + " 3000",
		}, settings...)
		if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			tb.Fatal(err)
		}
		s.Sentinels = append(s.Sentinels, begin(tb, &Server{
			tb: tb, binary: master.binary, dir: dir, config: config, args: []string{"--sentinel"},
		}))
	}
	deadline := time.After(time.Minute)
	for !s.complete() {
		select {
		case <-deadline:
			tb.Fatal("redistest: the sentinels do not find each other and the replicas")
		case <-time.After(20 * time.Millisecond):
		}
	}
	return s
}

// complete reports whether every sentinel knows all that there is.
func (s *Sentinels) complete() bool {
	for _, sentinel := range s.Sentinels {
		state, err := sentinel.Client().Do(context.Background(), "SENTINEL", "MASTER", s.Name).StringSlice()
		if err != nil {
			return false
		}
		known := map[string]string{}
		for i := 0; i+1 < len(state); i += 2 {
			known[state[i]] = state[i+1]
		}
		if known["num-slaves"] != "2" || known["num-other-sentinels"] != "2" || known["flags"] != "master" {
			return false
		}
	}
	return true
}

// URL names the sentinels as Options.URL wants it.
func (s *Sentinels) URL() string {
	var addrs []string
	for _, sentinel := range s.Sentinels {
		addrs = append(addrs, sentinel.Addr())
	}
	return "redis+sentinel://" + strings.Join(addrs, ",") + "/?master=" + s.Name
}

// Master is the server that the first sentinel which answers says is the master.
func (s *Sentinels) Master() *Server {
	for _, sentinel := range s.Sentinels {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		addr, err := sentinel.Client().Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.Name).StringSlice()
		cancel()
		if err != nil || len(addr) != 2 {
			continue
		}
		for _, server := range s.Servers {
			if server.Addr() == net.JoinHostPort(addr[0], addr[1]) {
				return server
			}
		}
	}
	return nil
}

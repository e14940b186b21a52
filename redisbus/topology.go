package redisbus

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// topology knows where the master is.
type topology interface {
	// master returns the address to connect to.
	master(ctx context.Context) (addr string, err error)

	// current reports whether a connection to addr that goes to remote leads to
	// the master, as far as that is known.
	current(addr string, remote net.Addr) bool

	// run keeps what is known up to date until ctx ends. It calls changed whenever
	// current may answer differently.
	run(ctx context.Context, changed func())
}

// single is one Redis at an address that never changes. Where its name leads may
// change.
type single struct {
	network, addr string
	resolver      *net.Resolver
	interval      time.Duration            // between two lookups of the name
	addresses     atomic.Pointer[[]string] // that the name has; nil: not known
}

func newSingle(opts *redis.Options, own *Options) *single {
	return &single{network: opts.Network, addr: opts.Addr, resolver: own.resolver, interval: own.HeartbeatInterval}
}

func (s *single) master(context.Context) (string, error) { return s.addr, nil }

// current is false once the name has none of the addresses that it had when the
// connection was made. One that the name has beside others counts.
func (s *single) current(_ string, remote net.Addr) bool {
	addresses := s.addresses.Load()
	tcp, ok := remote.(*net.TCPAddr)
	if addresses == nil || !ok {
		return true
	}
	for _, address := range *addresses {
		if ip := net.ParseIP(address); ip != nil && ip.Equal(tcp.IP) {
			return true
		}
	}
	return false
}

func (s *single) run(ctx context.Context, changed func()) {
	host, _, err := net.SplitHostPort(s.addr)
	if err != nil || s.network == "unix" || net.ParseIP(host) != nil {
		return
	}
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, s.interval)
		// A name that cannot be looked up says nothing about connections that work.
		if addresses, err := s.resolver.LookupHost(limited, host); err == nil && len(addresses) > 0 {
			s.addresses.Store(&addresses)
			changed()
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// health is whether a link works, and why not.
type health struct {
	mu     sync.Mutex // guards reason
	reason error
}

// set enters why the link does not work, or that it does, and reports whether
// that is news.
func (h *health) set(reason error) (news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	news = (h.reason == nil) != (reason == nil) || reason != nil && cause(h.reason) != cause(reason)
	h.reason = reason
	return news
}

func (h *health) get() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reason
}

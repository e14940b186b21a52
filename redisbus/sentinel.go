package redisbus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// sentinels is the topology of a master that Redis Sentinel watches. Every
// sentinel is asked, and the newest configuration counts: a sentinel that was cut
// off, or has come back, may not have heard of a failover. In between a
// subscription to +switch-master at one of them after the other brings the news.
type sentinels struct {
	name  string         // of the master
	opts  *redis.Options // of connections to sentinels: credentials and TLS
	own   *Options
	log   *slog.Logger
	moved chan struct{} // capacity 1: known has changed

	mu    sync.Mutex // guards the rest
	addrs []string   // of sentinels, those of the URL first
	known located
}

// located is where a sentinel says that the master is.
type located struct {
	addr  string
	epoch int64 // of the configuration; a failover makes a greater one
}

func (s *sentinels) addresses() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.addrs)
}

// master asks every sentinel.
func (s *sentinels) master(ctx context.Context) (string, error) {
	return s.ask(ctx)
}

// current reports whether addr is that of the master that is known.
func (s *sentinels) current(addr string, _ net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known.addr == "" || s.known.addr == addr
}

// ask asks every sentinel where the master is, and returns what is known then.
func (s *sentinels) ask(ctx context.Context) (string, error) {
	addrs := s.addresses()
	type reply struct {
		located
		others []string
		err    error
	}
	replies := make(chan reply, len(addrs))
	ctx, cancel := context.WithTimeout(ctx, s.opts.DialTimeout)
	defer cancel()
	var asking sync.WaitGroup
	for _, addr := range addrs {
		asking.Go(func() {
			found, others, err := s.askOne(ctx, addr)
			replies <- reply{found, others, err}
		})
	}
	// Those that do not answer are not waited for once most have.
	var errs []error
	var answers []located
	for range addrs {
		r := <-replies
		if r.err != nil {
			errs = append(errs, r.err)
		} else {
			answers = append(answers, r.located)
			s.learn(r.others)
		}
		if 2*len(answers) > len(addrs) {
			break
		}
	}
	cancel()
	asking.Wait()
	if len(answers) == 0 {
		return "", fmt.Errorf("no sentinel knows the master %q: %s", s.name, inOneLine(errs))
	}
	return s.enter(answers, len(addrs)), nil
}

// inOneLine is the texts of errs, in an order that does not depend on who answered
// first.
func inOneLine(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = textOf(err)
	}
	slices.Sort(texts)
	return strings.Join(texts, "; ")
}

// enter takes what sentinels have answered, of all that there are, and returns
// where the master is. A minority does not lead back to an older configuration.
func (s *sentinels) enter(answers []located, all int) string {
	best := answers[0]
	for _, a := range answers[1:] {
		if a.epoch > best.epoch {
			best = a
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if best.epoch >= s.known.epoch || 2*len(answers) > all {
		if s.known.addr != best.addr && s.known.addr != "" {
			s.log.Warn("redis master has moved", "from", s.known.addr, "to", best.addr)
			signal(s.moved)
		}
		s.known = best
	}
	return s.known.addr
}

// learn adds sentinels that others have named.
func (s *sentinels) learn(addrs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, addr := range addrs {
		if !slices.Contains(s.addrs, addr) && len(s.addrs) < maxSentinels {
			s.addrs = append(s.addrs, addr)
		}
	}
}

// maxSentinels bounds how many sentinels are believed to exist.
const maxSentinels = 32

// askOne asks one sentinel for the master and for the other sentinels.
func (s *sentinels) askOne(ctx context.Context, addr string) (found located, others []string, err error) {
	c, err := s.connect(ctx, addr)
	if err != nil {
		return located{}, nil, fmt.Errorf("sentinel %s: %w", addr, err)
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	c.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.name)
	c.command("SENTINEL", "MASTER", s.name)
	c.command("SENTINEL", "SENTINELS", s.name)
	if err := c.flush(); err != nil {
		return located{}, nil, fmt.Errorf("sentinel %s: %w", addr, err)
	}
	for i := range 3 {
		v, err := c.read()
		if err == nil && i == 0 {
			err = v.err()
		}
		if err != nil {
			return located{}, nil, fmt.Errorf("sentinel %s: %w", addr, err)
		}
		switch i {
		case 0:
			if len(v.items) != 2 {
				return located{}, nil, fmt.Errorf("sentinel %s: it does not watch a master %q", addr, s.name)
			}
			found.addr = net.JoinHostPort(string(v.item(0).text), string(v.item(1).text))
		case 1:
			// The user may not be allowed more than the address.
			found.epoch = v.field("config-epoch").number()
		case 2:
			for _, other := range v.items {
				host, port := string(other.field("ip").text), string(other.field("port").text)
				if host != "" && port != "" {
					others = append(others, net.JoinHostPort(host, port))
				}
			}
		}
	}
	return found, others, nil
}

// connect connects to a sentinel.
func (s *sentinels) connect(ctx context.Context, addr string) (*conn, error) {
	nc, err := dial(ctx, s.opts, s.own.resolver, addr, false)
	if err != nil {
		return nil, err
	}
	return logIn(ctx, nc, addr, s.opts, forSentinel)
}

// run listens to one sentinel after the other, and asks all of them with each
// heartbeat.
func (s *sentinels) run(ctx context.Context, changed func()) {
	var listening sync.WaitGroup
	switched := make(chan struct{}, 1)
	listening.Go(func() { s.listen(ctx, switched) })
	defer listening.Wait()
	tick := time.NewTicker(s.own.HeartbeatInterval)
	defer tick.Stop()
	for {
		// Whoever connects asks, too. An error is reported by those.
		_, _ = s.ask(ctx)
		select {
		case <-ctx.Done():
			return
		case <-s.moved:
			changed()
		case <-tick.C:
		case <-switched:
		}
	}
}

// listen subscribes to +switch-master at the sentinels in turn.
func (s *sentinels) listen(ctx context.Context, switched chan struct{}) {
	pause := backoff{least: s.own.ReconnectMin, most: s.own.ReconnectMax}
	for i := 0; ; i++ {
		addrs := s.addresses()
		began := time.Now()
		err := s.listenTo(ctx, addrs[i%len(addrs)], switched)
		if ctx.Err() != nil {
			return
		}
		s.log.Debug("sentinel connection ended", "sentinel", addrs[i%len(addrs)], "error", textOf(err))
		if time.Since(began) > s.own.ReconnectMax {
			pause.reset()
		}
		if !pause.wait(ctx) {
			return
		}
	}
}

// listenTo has switched told of each failover that a sentinel reports, until the
// connection breaks.
func (s *sentinels) listenTo(ctx context.Context, addr string, switched chan struct{}) error {
	limited, cancel := context.WithTimeout(ctx, s.opts.DialTimeout)
	defer cancel()
	c, err := s.connect(limited, addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := c.do("SUBSCRIBE", "+switch-master"); err != nil {
		return err
	}
	// It may have happened before.
	signal(switched)
	// A PING with each heartbeat: a silence is the end of the connection.
	c.timeout = s.own.HeartbeatInterval + s.own.HeartbeatTimeout
	var pinging sync.WaitGroup
	defer pinging.Wait()
	over, end := context.WithCancel(ctx)
	defer end()
	pinging.Go(func() {
		tick := time.NewTicker(s.own.HeartbeatInterval)
		defer tick.Stop()
		for {
			select {
			case <-over.Done():
				return
			case <-tick.C:
				c.command("PING")
				if c.flush() != nil {
					_ = c.Close()
					return
				}
			}
		}
	})
	for {
		v, err := c.read()
		if err != nil {
			return err
		}
		// The master's name comes first.
		if string(v.item(0).text) == "message" && strings.HasPrefix(string(v.item(2).text), s.name+" ") {
			signal(switched)
		}
	}
}

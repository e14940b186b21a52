// Package node runs one node of Tandem: the bus, an engine and the internal
// listener.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/redisbus"
	"github.com/tandem-ws/tandem/server/api"
	"github.com/tandem-ws/tandem/server/certificate"
	"github.com/tandem-ws/tandem/server/config"
	"github.com/tandem-ws/tandem/server/version"
)

// drainGrace is what connections get beyond DRAIN_TIME to answer their close
// frame, before they are cut off.
const drainGrace = modes.CloseWait + 2*time.Second

// errDraining is why a node that was told to stop is not ready.
var errDraining = errors.New("draining")

// node is a running server: what Run starts and, in reverse, ends.
type node struct {
	config    config.Config
	stderr    io.Writer
	log       *slog.Logger
	bus       *redisbus.Bus
	engine    modes.Engine
	admission *admission.Controller
	// maxRefused is how many sockets over a limit there is room for.
	maxRefused int
	stats      *modes.Stats
	rules      session.Rules
	// certificate is that of the public listener, or nil if it does not speak TLS.
	certificate *certificate.Certificate
	draining    atomic.Bool
	// collectors are metrics beside those of bus, engine and stats.
	collectors []prometheus.Collector
	// publishLine is a command line that publishes to the channel news.
	publishLine string
}

// Options are what a node works with. All but Collectors are required.
type Options struct {
	Config config.Config
	Log    *slog.Logger
	// Stderr is where the hints for newcomers are printed.
	Stderr io.Writer
	// Stop is closed to make the node drain and end.
	Stop <-chan struct{}
	// Collectors are metrics of the program around the node.
	Collectors []prometheus.Collector
}

// Run serves until Stop is closed and the connections are drained, or until
// something fails that it cannot go on without. It returns once everything that
// it started has ended.
func Run(ctx context.Context, o Options) error {
	c := o.Config
	n := &node{config: c, stderr: o.Stderr, log: o.Log, stats: modes.NewStats(), collectors: o.Collectors}
	if err := n.reserveDescriptors(); err != nil {
		return err
	}
	if c.TLSCertFile != "" {
		pair, err := certificate.Load(c.TLSCertFile, c.TLSKeyFile, n.log)
		if err != nil {
			return fmt.Errorf("%w: %w", config.ErrInvalid, err)
		}
		n.certificate = pair
	}
	internal, err := net.Listen("tcp", c.InternalAddr)
	if err != nil {
		return fmt.Errorf("tandem: INTERNAL_ADDR=%s: %w", c.InternalAddr, err)
	}
	defer func() { _ = internal.Close() }()
	if public(internal.Addr()) {
		n.log.Warn("the internal listener may be reached from outside: see that a firewall keeps strangers away, or set INTERNAL_ADDR=127.0.0.1:9000",
			"INTERNAL_ADDR", c.InternalAddr)
	}

	redisURL, client := c.RedisURL, "redis-cli"
	if redisURL == "" {
		embedded, err := redisbus.StartEmbedded(c.EmbeddedRedisAddr)
		if err != nil {
			return fmt.Errorf("tandem: EMBEDDED_REDIS_ADDR=%s: %w", c.EmbeddedRedisAddr, err)
		}
		defer embedded.Close()
		redisURL = embedded.URL()
		client += " -p " + embedded.Port()
	}
	n.publishLine = client + " publish " + c.RedisPrefix + `news '{"hello":"world"}'`
	options := c.BusOptions(redisURL)
	heartbeats := newHeartbeats()
	options.Log = n.log
	options.Heartbeat = func(link int, roundTrip time.Duration) {
		heartbeats.WithLabelValues(linkName(link)).Observe(roundTrip.Seconds())
	}
	n.collectors = append(n.collectors, heartbeats)
	n.bus, err = redisbus.New(options)
	if err != nil {
		return fmt.Errorf("%w: REDIS_URL: %w", config.ErrInvalid, err)
	}
	defer n.bus.Close()
	if err := n.open(); err != nil {
		return err
	}
	if err := n.bus.Start(n.engine); err != nil {
		return err
	}
	if c.RedisURL == "" {
		n.announceEmbedded()
	}
	return n.serve(ctx, internal, o.Stop)
}

// public reports whether a listener can be reached from outside this host and its
// private networks.
func public(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback() && !tcp.IP.IsPrivate() && !tcp.IP.IsLinkLocalUnicast()
}

// reserveDescriptors sees that connections leave enough open files for everything
// else.
func (n *node) reserveDescriptors() error {
	d, err := PlanDescriptors(&n.config)
	if err != nil {
		return err
	}
	if n.config.MaxConnections > d.Connections {
		n.log.Warn("MAX_CONNECTIONS is more than the limit of open files allows: raise it (ulimit -n)",
			"MAX_CONNECTIONS", n.config.MaxConnections, "open_files", d.Limit, "room", d.Connections)
	}
	if n.config.MaxConnections == 0 || n.config.MaxConnections > d.Connections {
		n.config.MaxConnections = d.Connections
	}
	n.maxRefused = d.Refused
	return nil
}

// open binds the public address.
func (n *node) open() error {
	c := &n.config
	tokens, err := c.TokenVerifier()
	if err != nil {
		return err
	}
	if c.TokenSecret != "" && len(c.TokenSecret) < config.MinSecret {
		n.log.Warn("TOKEN_SECRET is short enough to be guessed from one token: use 32 random bytes or more")
	}
	for _, warning := range c.Warnings() {
		n.log.Warn(warning)
	}
	n.rules = c.Rules()
	n.rules.Tokens, n.rules.Version = tokens, "tandem "+version.Version
	// config.Load has looked at them.
	origins, _ := c.Origins()
	proxies, _ := c.Proxies()
	n.admission, err = admission.New(admission.Options{
		AllowedOrigins: origins,
		MaxConnections: c.MaxConnections, MaxRefused: n.maxRefused, ConnectRate: c.ConnectRate,
		ConnectionsPerAddress: c.MaxConnectionsPerAddress, ConnectRatePerAddress: c.ConnectRatePerAddress,
		TrustedProxies: proxies, ForwardedHeader: c.ForwardedHeader,
	})
	if err != nil {
		return fmt.Errorf("%w: ALLOWED_ORIGINS: %w", config.ErrInvalid, err)
	}
	handler, err := publicHandler(demo{
		Mode: c.Mode, Version: version.Version, Publish: c.ClientPublish, Endpoint: modes.PathCentrifuge, Command: n.publishLine,
	})
	if err != nil {
		return err
	}
	shared := modes.Config{
		Addr: c.Addr, Handler: handler, Bus: n.bus, Admission: n.admission, Echo: c.Echo, Rules: n.rules,
		Limits: modes.Limits{
			MaxMessageSize: c.MaxMessageSize, MaxHeaderSize: c.MaxHeaderSize, MaxQueuedBytes: c.MaxQueuedBytes,
			HandshakeTimeout: c.HandshakeTimeout, PingInterval: c.PingInterval, PongTimeout: c.PongTimeout,
			GapRate: c.GapRate,
		},
		Compression: c.Compression, Stats: n.stats, Log: n.log,
	}
	if n.certificate != nil {
		shared.TLS = n.certificate.TLSConfig()
	}
	n.engine, err = newEngine(c, shared)
	if err != nil {
		return fmt.Errorf("tandem: ADDR=%s: %w", c.Addr, err)
	}
	return nil
}

// announceEmbedded prints what a newcomer can try. The text log would escape the quotes
// of the command, so in that format it is printed outside the log.
func (n *node) announceEmbedded() {
	n.log.Warn("embedded Redis: for trying out only; set REDIS_URL for a real one")
	page := pageURL(n.engine.Addr(), n.certificate != nil)
	if n.config.LogFormat == "json" {
		n.log.Info("try it", "page", page, "publish", n.publishLine)
		return
	}
	_, _ = fmt.Fprintf(n.stderr, "\n    demo page   %s\n    publish     %s\n\n", page, n.publishLine)
}

// pageURL returns the URL of the demo page for a browser on this machine.
func pageURL(addr net.Addr, secure bool) string {
	host, port, _ := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port) + "/"
}

// serve runs the engine and the internal listener until stop, then drains.
func (n *node) serve(ctx context.Context, internal net.Listener, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- n.engine.Serve(ctx) }()

	server := newInternalServer(internalHandler(n.ready, n.metrics(), n.api(), n.log), n.log)
	inside := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { inside <- server.Serve(internal) })
	running.Go(func() { n.admission.WatchMemory(ctx) })
	if n.certificate != nil {
		running.Go(func() { n.certificate.Watch(ctx) })
	}
	defer func() {
		cancel()
		stopInternal(server)
		running.Wait()
	}()

	n.log.Info("ready for connections", "mode", n.config.Mode, "version", version.Version,
		"addr", n.engine.Addr().String(), "internal", internal.Addr().String(), "max_connections", n.config.MaxConnections,
		"memory_limit", memoryLimit())
	select {
	case err := <-served:
		if err == nil {
			err = errors.New("stopped unexpectedly")
		}
		return fmt.Errorf("tandem: %s engine: %w", n.config.Mode, err)
	case err := <-inside:
		cancel()
		return errors.Join(fmt.Errorf("tandem: INTERNAL_ADDR=%s: %w", n.config.InternalAddr, err), <-served)
	case <-stop:
	}
	n.draining.Store(true)
	n.drain(ctx)
	cancel()
	if err := <-served; err != nil {
		return fmt.Errorf("tandem: %s engine: %w", n.config.Mode, err)
	}
	n.log.Info("stopped")
	return nil
}

// memoryLimit returns the memory limit of the runtime, for the log.
func memoryLimit() string {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return config.Size(limit).String()
	}
	return "none"
}

func (n *node) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.config.DrainTime+drainGrace)
	defer cancel()
	open := n.stats.TotalConnections()
	if err := n.engine.Drain(ctx, n.config.DrainTime); err != nil {
		n.log.Warn("not all connections answered their close frame: cutting them off",
			"left", n.stats.TotalConnections(), "err", err)
		return
	}
	n.log.Info("drained", "connections", open)
}

// stopInternal lets the requests that run end, for a while.
func stopInternal(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
	}
}

// ready returns why this node should get no clients.
func (n *node) ready() error {
	if n.draining.Load() {
		return errDraining
	}
	return n.bus.Ready()
}

func (n *node) metrics() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
			collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/cpu/classes/(gc/)?total:|^/sched/(pauses/total/gc|latencies):`)})),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		buildInfo(n.config.Mode),
		newBusCollector(n.bus),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tandem_connection_limit",
			Help: "Connections that this node takes; 0: any number."},
			func() float64 { return float64(n.config.MaxConnections) }),
	)
	n.stats.Register(registry)
	if n.certificate != nil {
		n.certificate.Register(registry)
	}
	registry.MustRegister(n.collectors...)
	if own, ok := n.engine.(prometheus.Collector); ok {
		registry.MustRegister(own)
	}
	return registry
}

func (n *node) api() *api.API {
	if n.config.APIKey == "" {
		return nil
	}
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return api.New(api.Options{
		Key: n.config.APIKey, Bus: n.bus, Engine: n.engine, Rules: n.rules, Stats: n.stats, Channels: n.channels,
		Node: api.NodeInfo{UID: session.NewID().String(), Name: name, Version: version.Version, Mode: n.config.Mode},
	})
}

// channels is how many channels the node is subscribed to in Redis.
func (n *node) channels() (sum int) {
	for _, link := range n.bus.Stats().Links {
		sum += link.Channels
	}
	return sum
}

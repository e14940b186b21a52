package idiomatic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Options are what only this engine knows. The zero value is the default.
type Options struct {
	// ReadBufferSize and WriteBufferSize are the bytes of buffer that each
	// connection holds; 0: 4096.
	ReadBufferSize, WriteBufferSize int
	// WriteBufferPool shares write buffers among connections instead: one is
	// held only while a message is written.
	WriteBufferPool bool
	// SendQueue is how many messages fit the Go channel to a connection's
	// writer; each costs 8 bytes of every connection, used or not. What does
	// not fit waits behind it, up to Limits.MaxQueuedBytes. 0: 64.
	SendQueue int
}

const (
	defaultBufferSize = 4096
	defaultSendQueue  = 64
)

// Errors of New and Serve.
var (
	ErrListen = errors.New("idiomatic: cannot listen")
	ErrAccept = errors.New("idiomatic: cannot accept")
)

// Engine implements modes.Engine. All its methods may be called concurrently,
// Serve once.
type Engine struct {
	config   modes.Config
	limits   modes.Limits
	stats    *modes.Stats
	log      *slog.Logger
	listener *listener
	server   *http.Server
	upgrader websocket.Upgrader
	hub      *hub
	gap      *gap
	send     int // capacity of a connection's send queue

	// ctx ends when Serve does: whatever still waits for Redis gives up.
	ctx    context.Context
	cancel context.CancelFunc
	// running counts what Serve must wait for: HTTP connections, and two
	// goroutines for every WebSocket connection.
	running sync.WaitGroup
	drained chan struct{} // closed when Drain has ended
	drain   sync.Once

	mu          sync.Mutex // guards what follows
	draining    bool
	connections map[session.ID]*connection
	gone        chan struct{} // closed when draining and no connection is left
}

var _ modes.Engine = (*Engine)(nil)

// New returns an engine that listens on config.Addr and serves nobody before
// Serve is called. The error wraps ErrListen.
func New(config modes.Config, options Options) (*Engine, error) {
	if options.ReadBufferSize <= 0 {
		options.ReadBufferSize = defaultBufferSize
	}
	if options.WriteBufferSize <= 0 {
		options.WriteBufferSize = defaultBufferSize
	}
	if options.SendQueue <= 0 {
		options.SendQueue = defaultSendQueue
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Engine{
		config: config, limits: config.Limits, stats: config.Stats, log: config.Log,
		hub: newHub(config.Stats), gap: newGap(config.Limits.GapRate), send: options.SendQueue,
		ctx: ctx, cancel: cancel,
		drained: make(chan struct{}), gone: make(chan struct{}),
		connections: make(map[session.ID]*connection),
	}
	e.upgrader = newUpgrader(options, config.Limits)
	var err error
	if e.listener, err = listen(config); err != nil {
		cancel()
		return nil, fmt.Errorf("%w: %w", ErrListen, err)
	}
	e.server = handshake.NewServer(&e.config, e, &e.running)
	e.server.BaseContext = func(net.Listener) context.Context { return e.ctx }
	return e, nil
}

// Addr implements modes.Engine.
func (e *Engine) Addr() net.Addr { return e.listener.Addr() }

// Serve implements modes.Engine. The error wraps ErrAccept.
func (e *Engine) Serve(ctx context.Context) error {
	e.running.Go(func() { e.gap.run(e.ctx, e.hub) })
	served := make(chan error, 1)
	go func() { served <- e.server.Serve(e.listener) }()

	err := e.await(ctx, served)
	e.stop()
	e.running.Wait()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAccept, err)
	}
	return nil
}

// await returns when Serve should end. An error is why nobody can be accepted
// any more. Either way net/http has returned.
func (e *Engine) await(ctx context.Context, served chan error) error {
	select {
	case <-ctx.Done():
	case <-e.drained:
	case err := <-served:
		// Drain closes the listener first, and is not done then.
		if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-e.drained:
		}
		return nil
	}
	// Errors of closing what is of no use any more.
	_ = e.listener.Close()
	_ = e.server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// stop ends everything at once.
func (e *Engine) stop() {
	remaining := e.refuseNew()
	e.cancel()
	// Errors of closing sockets that are of no use any more.
	_ = e.listener.Close()
	_ = e.server.Close()
	for _, c := range remaining {
		c.abandon(wire.DisconnectShutdown)
	}
}

// Disconnect implements modes.Engine.
func (e *Engine) Disconnect(client string, d wire.Disconnect) bool {
	id, ok := session.ParseID(client)
	if !ok {
		return false
	}
	e.mu.Lock()
	c := e.connections[id]
	e.mu.Unlock()
	return c != nil && c.close(goodbye(d))
}

// Deliver implements modes.Receiver.
func (e *Engine) Deliver(p modes.Publication) {
	e.stats.Publications.Add(1)
	e.stats.PublicationBytes.Add(uint64(len(p.Data)))
	e.hub.deliver(p.Channel, p.Data)
}

// Flush implements modes.Receiver: Deliver has left nothing to do.
func (e *Engine) Flush() {}

// Lost implements modes.Receiver.
func (e *Engine) Lost(channels []string) { e.gap.add(channels, e.hub.nextEpoch()) }

// admit lets one handshake in and counts it as a connection of protocol p from the
// address that it returns. The caller owes release, unless the connection comes to
// life.
func (e *Engine) admit(p wire.Protocol, r *http.Request) (admission.Address, *admission.Refusal) {
	address, refusal := e.config.Admission.AddRequest(r)
	if refusal == nil {
		if refusal = e.count(p, r); refusal != nil {
			e.config.Admission.Remove(address)
		}
	}
	return address, refusal
}

func (e *Engine) count(p wire.Protocol, r *http.Request) *admission.Refusal {
	// The lock makes the connection limit exact: looking and counting are one.
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining {
		return handshake.RefusedDraining
	}
	if refusal := e.config.Admission.Admit(r.Host, r.Header.Get("Origin")); refusal != nil {
		return refusal
	}
	e.stats.Connections[p].Add(1)
	return nil
}

// release takes back what admit counted.
func (e *Engine) release(p wire.Protocol, address admission.Address) {
	e.stats.Connections[p].Add(-1)
	e.config.Admission.Remove(address)
}

// add makes c known, and has Serve wait for its two goroutines; false: the
// engine has begun to drain.
func (e *Engine) add(c *connection) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining {
		return false
	}
	e.connections[c.id] = c
	e.running.Add(2)
	return true
}

func (e *Engine) remove(c *connection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.connections, c.id)
	if e.draining && len(e.connections) == 0 {
		e.closeGone()
	}
}

// closeGone must be called with mu held.
func (e *Engine) closeGone() {
	select {
	case <-e.gone:
	default:
		close(e.gone)
	}
}

package enginetest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/centrifugal/protocol"
	"github.com/gorilla/websocket"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/handshake"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// skeleton is about the smallest engine there can be: one lock around everything, and
// a send queue without bound. It shows what the contract asks of a third engine, and
// what the shared packages leave to do.
type skeleton struct {
	modes.Config
	listener net.Listener
	server   *http.Server
	running  sync.WaitGroup // handlers, and two goroutines for each connection

	mu          sync.Mutex // guards what follows, and the connections
	connections map[string]*skeletonConnection
	subscribers map[string][]*skeletonConnection
	draining    bool
}

// skeletonConnection is one connection. It is its session's peer.
type skeletonConnection struct {
	engine   *skeleton
	id       string
	protocol wire.Protocol
	ws       *websocket.Conn
	session  session.Session
	account  *session.Account
	expiry   *time.Timer
	// channels are those that it is subscribed to, or waits for: true, if the bus
	// has confirmed them.
	channels map[string]bool
	ready    sync.Cond // signals changes of what follows
	queue    []wire.Frame
	tasks    []func() // from the bus
	ending   bool     // nothing comes after what is queued
}

func newSkeleton(config modes.Config) (modes.Engine, error) {
	e := &skeleton{Config: config, connections: map[string]*skeletonConnection{}, subscribers: map[string][]*skeletonConnection{}}
	var err error
	if e.listener, err = net.Listen("tcp", config.Addr); err != nil {
		return nil, err
	}
	e.server = handshake.NewServer(&e.Config, http.HandlerFunc(e.serve), &e.running)
	return e, nil
}

func (e *skeleton) Addr() net.Addr { return e.listener.Addr() }

func (e *skeleton) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = e.server.Close() })
	defer stop()
	err := e.server.Serve(handshake.Limit(e.listener, &e.Config))
	_ = e.Drain(context.Background(), 0)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

func (e *skeleton) Drain(context.Context, time.Duration) error {
	e.mu.Lock()
	e.draining = true
	for _, c := range e.connections {
		c.Disconnect(wire.DisconnectShutdown)
		// It does not wait for its client.
		_ = c.ws.NetConn().SetDeadline(time.Now().Add(time.Second))
	}
	e.mu.Unlock()
	_ = e.server.Close()
	e.running.Wait()
	return nil
}

func (e *skeleton) Disconnect(client string, d wire.Disconnect) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.connections[client]
	if c != nil {
		c.Disconnect(d)
	}
	return c != nil
}

func (e *skeleton) Deliver(p modes.Publication) {
	e.Stats.Publications.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	var frames [wire.Pushed]wire.Frame
	for _, c := range e.subscribers[string(p.Channel)] {
		if frames[c.protocol] == nil {
			frames[c.protocol], _ = wire.PushFrame(c.protocol, string(p.Channel), p.Data)
		}
		c.push(frames[c.protocol])
	}
}

func (e *skeleton) Flush() {}

func (e *skeleton) Lost(channels []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, channel := range channels {
		for _, c := range slices.Clone(e.subscribers[channel]) {
			c.Unsubscribe(channel)
			c.push(wire.GapFrame(c.protocol, channel))
		}
	}
}

// serve answers one request, and serves the connection that comes of it.
func (e *skeleton) serve(w http.ResponseWriter, r *http.Request) {
	e.running.Add(1)
	defer e.running.Done()
	p, ok := handshake.Endpoint(r.URL.Path, e.Echo)
	if !ok || !p.Session() {
		e.Handler.ServeHTTP(w, r)
		return
	}
	if refusal := handshake.Check(r); refusal != nil {
		handshake.Answer(w, r, e.Stats, refusal)
		return
	}
	var offered handshake.Subprotocols
	for _, value := range r.Header["Sec-Websocket-Protocol"] {
		offered.Add([]byte(value))
	}
	p, subprotocol := handshake.Negotiate(p, offered, r.URL.RawQuery)
	header := http.Header{}
	if subprotocol != "" {
		header.Set("Sec-WebSocket-Protocol", subprotocol)
	}
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := upgrader.Upgrade(w, r, header)
	if err != nil {
		return
	}
	ws.SetReadLimit(int64(e.Limits.MaxMessageSize))
	// gorilla's own would answer a close frame that is an answer already.
	ws.SetCloseHandler(func(int, string) error { return nil })
	c := &skeletonConnection{engine: e, id: session.NewID().String(), protocol: p, ws: ws, channels: map[string]bool{}}
	c.ready.L = &e.mu
	e.mu.Lock()
	e.connections[c.id] = c
	e.Stats.Connections[p].Add(1)
	if e.draining {
		c.Disconnect(wire.DisconnectShutdown)
	}
	e.mu.Unlock()
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.read()
	writer.Wait()
	_ = ws.Close()
}

// read handles what the client sends until it is gone.
func (c *skeletonConnection) read() {
	e := c.engine
	for {
		_, message, err := c.ws.ReadMessage()
		e.mu.Lock()
		if err != nil {
			if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
				c.push(wire.CloseFrame(wire.DisconnectNormal))
			}
			c.end()
			e.mu.Unlock()
			return
		}
		if !c.ending {
			c.session.Handle(&e.Rules, c.protocol, c, message)
		}
		e.mu.Unlock()
	}
}

// write sends what is queued, and acts on what the bus has answered.
func (c *skeletonConnection) write() {
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		for len(c.queue) == 0 && len(c.tasks) == 0 && !c.ending {
			c.ready.Wait()
		}
		tasks := c.tasks
		c.tasks = nil
		for _, task := range tasks {
			task()
		}
		if c.ending && len(c.queue) == 0 {
			return
		}
		queue := c.queue
		c.queue = nil
		e.mu.Unlock()
		for _, frame := range queue {
			if _, err := c.ws.NetConn().Write(frame); err != nil {
				break
			}
		}
		e.mu.Lock()
	}
}

// push queues a frame.
func (c *skeletonConnection) push(f wire.Frame) {
	if !c.ending {
		c.queue = append(c.queue, f)
		c.ready.Signal()
	}
}

// post has the writer act on an answer of the bus.
func (c *skeletonConnection) post(task func()) {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	if c.engine.connections[c.id] != c {
		// There is no writer any more.
		task()
		return
	}
	c.tasks = append(c.tasks, task)
	c.ready.Signal()
}

// end gives back what the connection has.
func (c *skeletonConnection) end() {
	e := c.engine
	if e.connections[c.id] != c {
		return
	}
	delete(e.connections, c.id)
	for channel := range c.channels {
		c.Unsubscribe(channel)
	}
	c.ExpireAt(time.Time{})
	e.Stats.Connections[c.protocol].Add(-1)
	c.ending = true
	c.ready.Signal()
}

func (c *skeletonConnection) ClientID() string { return c.id }

func (c *skeletonConnection) Send(reply *protocol.Reply) { c.push(wire.ReplyFrame(c.protocol, reply)) }

func (c *skeletonConnection) Disconnect(d wire.Disconnect) {
	if c.ending {
		return
	}
	c.push(wire.CloseFrame(d))
	c.ending = true
	for channel := range c.channels {
		c.Unsubscribe(channel)
	}
}

func (c *skeletonConnection) Subscriptions(channel string) (int, session.Status) {
	confirmed, has := c.channels[channel]
	switch {
	case confirmed:
		return len(c.channels), session.Subscribed
	case has:
		return len(c.channels), session.Subscribing
	}
	return len(c.channels), session.Unsubscribed
}

func (c *skeletonConnection) Subscribe(_ bool, s session.Subscriber, channels ...string) {
	e := c.engine
	var held []string
	var failed error
	left := len(channels)
	for _, channel := range channels {
		c.channels[channel] = false
		e.Bus.Subscribe(channel, func(err error) {
			c.post(func() {
				if failed = errors.Join(failed, err); err == nil {
					held = append(held, channel)
				}
				if left--; left == 0 {
					c.subscribed(s, channels, held, failed)
				}
			})
		})
	}
}

// subscribed acts on the bus's answers for all channels of one Subscribe.
func (c *skeletonConnection) subscribed(s session.Subscriber, channels, held []string, failed error) {
	e := c.engine
	if failed != nil || c.ending {
		for _, channel := range held {
			e.Bus.Unsubscribe(channel)
		}
		for _, channel := range channels {
			delete(c.channels, channel)
		}
	} else {
		for _, channel := range channels {
			c.channels[channel] = true
			e.subscribers[channel] = append(e.subscribers[channel], c)
			e.Stats.Subscriptions.Add(1)
		}
	}
	if !c.ending {
		s.Confirmed(failed)
		s.Finished()
	}
}

func (c *skeletonConnection) Unsubscribe(channel string) {
	e := c.engine
	if !c.channels[channel] {
		return
	}
	delete(c.channels, channel)
	i := slices.Index(e.subscribers[channel], c)
	if e.subscribers[channel] = slices.Delete(e.subscribers[channel], i, i+1); len(e.subscribers[channel]) == 0 {
		delete(e.subscribers, channel)
	}
	e.Stats.Subscriptions.Add(-1)
	e.Bus.Unsubscribe(channel)
}

func (c *skeletonConnection) Publish(channel string, data []byte, accepted func(error)) {
	c.engine.Bus.Publish(strings.Clone(channel), data, func(err error) {
		c.post(func() {
			if !c.ending {
				accepted(err)
			}
		})
	})
}

func (c *skeletonConnection) Work(work func(), done func(error)) {
	c.engine.running.Go(func() {
		work()
		c.post(func() {
			if !c.ending {
				done(nil)
			}
		})
	})
}

func (c *skeletonConnection) Account(open bool) *session.Account {
	if c.account == nil && open {
		c.account = new(session.Account)
	}
	return c.account
}

func (c *skeletonConnection) ExpireAt(at time.Time) {
	if c.expiry != nil {
		c.expiry.Stop()
		c.expiry = nil
	}
	if !at.IsZero() && !c.ending {
		c.expiry = time.AfterFunc(time.Until(at), func() {
			c.post(func() {
				if !c.ending {
					c.session.Expire(&c.engine.Rules, c)
				}
			})
		})
	}
}

func (c *skeletonConnection) Now() time.Time { return time.Now() }

// coreCases are the part of the suite that is about the protocol, and not about what
// connections cost and how they end: what an engine passes first.
var coreCases = []string{
	"session/connect reply", "session/answers", "session/several commands in one frame", "session/connect with subs",
	"session/limits", "session/publish", "session/publish, a share for each client",
	"session/protobuf",
	"subscribe/reply before the first push", "subscribe/nothing lost after the reply", "subscribe/all channels of one connect",
	"subscribe/a held channel holds up no other", "subscribe/fails in Redis",
	"subscribe/random commands in order", "subscribe/random commands in order, Redis refuses some",
	"subscribe/random commands in order, private channels",
	"unsubscribe/ends the pushes", "unsubscribe/while the subscription is pending", "unsubscribe/churn under publications",
}

// TestSkeleton: a third engine is one file, beside the constructor's place in
// server/node, the name in server/config, and a line of its own where modes are
// listed.
func TestSkeleton(t *testing.T) {
	ran := 0
	for _, group := range [][]suiteCase{sessionCases, subscribeCases} {
		for _, c := range group {
			if slices.Contains(coreCases, c.name) {
				ran++
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t, newSkeleton)
				})
			}
		}
	}
	if ran != len(coreCases) {
		t.Errorf("%d cases of %d are part of the suite", ran, len(coreCases))
	}
}

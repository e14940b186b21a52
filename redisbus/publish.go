package redisbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// One pipeline holds at most this much, so that a long queue does not become one
// long write that a single failure fails as a whole.
const (
	maxPipeline      = 512
	maxPipelineBytes = 1 << 20
)

// publication is one call of Publish on its way to Redis.
type publication struct {
	name   string
	data   []byte
	done   func(error)
	client bool // a client publishes it
}

// load is what publications amount to.
type load struct{ count, bytes int }

func (l *load) add(pub *publication) {
	l.count++
	l.bytes += len(pub.data)
}

// fits reports whether one more stays within the bounds.
func (l *load) fits(pub *publication, count, bytes int) bool {
	return l.count < count && l.bytes+len(pub.data) <= bytes
}

func (l *load) remove(pub *publication) {
	l.count--
	l.bytes -= len(pub.data)
}

// clientShare is the part of the queue that clients may fill: one in so many. The
// rest is for back ends, whatever clients do.
const clientShare = 2

// publisher is the command link: one connection to Redis, over which what
// Publish has queued goes out in order, pipelined. Its goroutine, run, is the
// only one to use the connection.
type publisher struct {
	opts   *Options
	log    *slog.Logger
	client *redis.Client
	socket *socket
	wake   chan struct{} // capacity 1: queue is no longer empty
	refuse chan struct{} // capacity 1: refused is no longer empty

	mu      sync.Mutex // guards the queues
	queue   []publication
	total   load // of what is in queue and in flight
	clients load // the part of it that clients publish
	refused []func(error)
	closed  bool

	mayPublish atomic.Bool // the connection has answered and not failed since
	published  atomic.Uint64
	failures   atomic.Uint64
	roundTrip  atomic.Int64
	downMu     sync.Mutex // guards downReason
	downReason error
}

func newPublisher(opts *Options, redisOpts *redis.Options, log *slog.Logger) *publisher {
	p := &publisher{
		opts:       opts,
		log:        log,
		wake:       make(chan struct{}, 1),
		refuse:     make(chan struct{}, 1),
		downReason: errors.New("not connected yet"),
	}
	p.client, p.socket = newClient(redisOpts, redis.NewDialer(redisOpts))
	return p
}

// enqueue accepts a publication, or has its done called with
// ErrPublishQueueFull. It returns false when the publisher has ended.
func (p *publisher) enqueue(pub publication) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	wake := p.wake
	count, bytes := p.opts.MaxQueuedPublishes, p.opts.MaxQueuedPublishBytes
	switch {
	case p.closed:
		return false
	case !p.total.fits(&pub, count, bytes), pub.client && !p.clients.fits(&pub, count/clientShare, bytes/clientShare):
		p.refused = append(p.refused, pub.done)
		wake = p.refuse
	default:
		p.queue = append(p.queue, pub)
		p.total.add(&pub)
		if pub.client {
			p.clients.add(&pub)
		}
	}
	select {
	case wake <- struct{}{}:
	default:
	}
	return true
}

// take returns the next pipeline's worth. It stays counted until finish.
func (p *publisher) take() []publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, bytes := 0, 0
	for n < len(p.queue) && n < maxPipeline && bytes < maxPipelineBytes {
		bytes += len(p.queue[n].data)
		n++
	}
	batch := p.queue[:n:n]
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil
	}
	return batch
}

// finish calls done for the batch, and makes room in the queue first, so that
// who publishes again from done finds it.
func (p *publisher) finish(batch []publication, errOf func(i int) error) {
	p.mu.Lock()
	for i := range batch {
		p.total.remove(&batch[i])
		if batch[i].client {
			p.clients.remove(&batch[i])
		}
	}
	p.mu.Unlock()
	for i := range batch {
		err := errOf(i)
		if err != nil {
			p.failures.Add(1)
		} else {
			p.published.Add(1)
		}
		batch[i].done(err)
		batch[i] = publication{}
	}
}

// run publishes until ctx ends and the socket is closed.
func (p *publisher) run(ctx context.Context) {
	defer func() { _ = p.client.Close() }()
	pause := backoff{least: p.opts.ReconnectMin, most: p.opts.ReconnectMax}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			p.drain(ErrClosed)
			return
		case <-timer.C:
			err := p.ping(ctx)
			if err == nil {
				pause.reset()
			}
			p.enter(ctx, err)
		case <-p.wake:
		}
		// What was queued while the ping was waiting for its answer has its
		// chance if Redis is there, and is not kept if it is not.
		for p.mayPublish.Load() {
			batch := p.take()
			if len(batch) == 0 {
				break
			}
			p.enter(ctx, p.send(ctx, batch))
		}
		if p.mayPublish.Load() {
			timer.Reset(p.opts.HeartbeatInterval)
			continue
		}
		p.drain(ErrNotConnected)
		timer.Reset(pause.take())
	}
}

// send publishes the batch and returns an error when the link is broken.
func (p *publisher) send(ctx context.Context, batch []publication) error {
	pipe := p.client.Pipeline()
	for i := range batch {
		pipe.Publish(ctx, batch[i].name, batch[i].data)
	}
	// Each command has its own error.
	cmds, _ := pipe.Exec(ctx)
	var broken error
	p.finish(batch, func(i int) error {
		err := cmds[i].Err()
		var answer redis.Error
		switch {
		case err == nil:
			return nil
		case errors.As(err, &answer):
			return fmt.Errorf("redisbus: publish: %w", err)
		default:
			broken = fmt.Errorf("publish: %w", err)
			return fmt.Errorf("%w: %w", ErrNotConnected, broken)
		}
	})
	return broken
}

func (p *publisher) ping(ctx context.Context) error {
	began := time.Now()
	if err := p.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	roundTrip := time.Since(began)
	p.roundTrip.Store(int64(roundTrip))
	p.opts.Heartbeat(CommandLink, roundTrip)
	return nil
}

// drain fails all that is queued.
func (p *publisher) drain(err error) {
	if errors.Is(err, ErrClosed) {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
	}
	for batch := p.take(); len(batch) > 0; batch = p.take() {
		p.finish(batch, func(int) error { return err })
	}
}

// enter notes whether the link works.
func (p *publisher) enter(ctx context.Context, err error) {
	p.downMu.Lock()
	before := p.downReason
	p.downReason = err
	p.downMu.Unlock()
	p.mayPublish.Store(err == nil)
	switch {
	case err == nil && before != nil:
		p.log.Info("redis command link up")
	case err != nil && before == nil && ctx.Err() == nil:
		p.log.Warn("redis command link down, reconnecting", "error", err)
	}
}

// refuseAll calls done for what the queue had no room for, until ctx ends. It is
// a goroutine of its own because run may be waiting for Redis, and what is
// refused must not pile up.
func (p *publisher) refuseAll(ctx context.Context) {
	for {
		ended := false
		select {
		case <-ctx.Done():
			ended = true
		case <-p.refuse:
		}
		p.mu.Lock()
		refused := p.refused
		p.refused = nil
		p.closed = p.closed || ended
		p.mu.Unlock()
		for _, done := range refused {
			p.failures.Add(1)
			done(ErrPublishQueueFull)
		}
		if ended {
			return
		}
	}
}

// ready is nil when the last command was answered.
func (p *publisher) ready() error {
	p.downMu.Lock()
	defer p.downMu.Unlock()
	if p.downReason != nil {
		return fmt.Errorf("command link: %w: %w", ErrNotConnected, p.downReason)
	}
	return nil
}

// queued returns the number of publications accepted and not finished, and their
// bytes.
func (p *publisher) queued() (count, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total.count, p.total.bytes
}

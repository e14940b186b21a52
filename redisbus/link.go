package redisbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tandem-ws/tandem/modes"
)

// stallLimit is how many times the heartbeat timeout a command may wait for its
// answer while other things still arrive. The answer stands behind everything
// that Redis has queued for this connection, so a burst of publications is no
// sign of a broken link. Redis itself bears with a full queue for as long: its
// client-output-buffer-limit for Pub/Sub gives 60 s.
const stallLimit = 20

// commandKind is what a command on a Pub/Sub connection asks for.
type commandKind uint8

const (
	ping commandKind = iota
	subscribe
	unsubscribe
)

// answer is how each of them is answered.
func (k commandKind) answer() replyKind {
	return [...]replyKind{pongReply, subscribeReply, unsubscribeReply}[k]
}

// command is in flight from its writing until Redis has answered all of it.
// There is one at a time, so an error that Redis answers with belongs to it.
type command struct {
	kind    commandKind
	names   []string // subscribe and unsubscribe
	payload string   // ping
	sent    time.Duration

	answered int // names answered; the reader's alone
}

// link is one Pub/Sub connection to Redis and the channels that hash to it. Its
// goroutine, run, owns the connection: it makes it, is the only one to write to
// it, and for each life of it starts a reader and waits for its end.
type link struct {
	number   int
	opts     *Options
	log      *slog.Logger
	redis    *redis.Options
	socket   *socket
	channels *channels
	epoch    time.Time

	wake     chan struct{} // capacity 1: channels has something new
	answered chan struct{} // capacity 1: the command in flight has been answered
	inflight atomic.Pointer[command]

	received   atomic.Uint64 // publications; written by the reader alone
	answers    atomic.Uint64
	state      atomic.Int32
	connects   atomic.Uint64
	roundTrip  atomic.Int64
	lost       atomic.Uint64 // channels reported as lost
	rejected   atomic.Uint64 // subscriptions that Redis refused
	mu         sync.Mutex    // guards downReason
	downReason error
}

func newLink(number int, opts *Options, redisOpts *redis.Options) *link {
	return &link{
		number:     number,
		opts:       opts,
		redis:      redisOpts,
		socket:     &socket{dial: directDialer(redisOpts)},
		log:        opts.Log.With("link", number),
		channels:   newChannels(opts),
		epoch:      time.Now(),
		wake:       make(chan struct{}, 1),
		answered:   make(chan struct{}, 1),
		downReason: errors.New("not connected yet"),
	}
}

func (l *link) now() time.Duration { return time.Since(l.epoch) }

func (l *link) notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run keeps the link up until ctx ends and the socket is closed.
func (l *link) run(ctx context.Context, receiver modes.Receiver) {
	pause := backoff{least: l.opts.ReconnectMin, most: l.opts.ReconnectMax}
	for {
		s, err := l.connect(ctx)
		if err == nil {
			began := l.now()
			err = l.serve(ctx, s, receiver)
			// A link that breaks at once, each time, must not become a storm of
			// resubscriptions.
			if l.now()-began > l.opts.ReconnectMax {
				pause.reset()
			}
		}
		if ctx.Err() != nil {
			l.enterDown(ErrClosed)
			return
		}
		if l.enterDown(err) {
			l.log.Warn("redis link down, reconnecting", "error", err)
		}
		if !pause.wait(ctx) {
			return
		}
	}
}

// connect returns a connection that has answered a PING.
func (l *link) connect(ctx context.Context) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, l.redis.DialTimeout+l.opts.HeartbeatTimeout)
	defer cancel()
	conn, err := l.socket.connect(ctx, l.redis.Network, l.redis.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	s, err := openStream(ctx, conn, l.redis)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return s, nil
}

// serve uses the connection until it breaks, and returns why it did.
func (l *link) serve(ctx context.Context, s *stream, receiver modes.Receiver) error {
	l.inflight.Store(nil)
	select {
	case <-l.answered:
	default:
	}
	l.channels.connect()
	l.connects.Add(1)
	l.state.Store(int32(modes.LinkSubscribing))
	l.mu.Lock()
	l.downReason = nil
	l.mu.Unlock()
	l.settle()

	ended := make(chan error, 1)
	go func() { ended <- l.read(s, receiver) }()

	err, readerEnded := l.drive(ctx, s, ended)
	l.state.Store(int32(modes.LinkDown))
	s.close()
	if !readerEnded {
		l.log.Debug("redis link closed", "error", <-ended)
	}
	// Not before the reader has ended, so that a late answer cannot touch what
	// the next connection asks for.
	l.channels.disconnect().call()
	return err
}

// drive writes commands until the link breaks or ctx ends.
func (l *link) drive(ctx context.Context, s *stream, ended <-chan error) (err error, readerEnded bool) {
	timer := time.NewTimer(l.opts.HeartbeatInterval)
	defer timer.Stop()
	nextPing := l.now() + l.opts.HeartbeatInterval
	for sequence := 0; ; {
		now := l.now()
		cmd := &command{sent: now}
		var again time.Duration
		if now >= nextPing {
			nextPing = now + l.opts.HeartbeatInterval
			sequence++
			cmd.kind, cmd.payload = ping, strconv.Itoa(sequence)
		} else {
			var joins, leaves []string
			joins, leaves, again = l.channels.next(now)
			switch {
			case joins != nil:
				cmd.kind, cmd.names = subscribe, joins
			case leaves != nil:
				cmd.kind, cmd.names = unsubscribe, leaves
			default:
				cmd = nil
			}
		}
		if cmd != nil {
			if err, readerEnded = l.exchange(ctx, s, cmd, timer, ended); err != nil {
				return err, readerEnded
			}
			l.settle()
			continue
		}
		if again == 0 || again > nextPing {
			again = nextPing
		}
		timer.Reset(again - now)
		select {
		case <-l.wake:
		case <-timer.C:
		case err := <-ended:
			return err, true
		case <-ctx.Done():
			return ctx.Err(), false
		}
	}
}

// exchange writes one command and waits for its answer.
func (l *link) exchange(ctx context.Context, s *stream, cmd *command, timer *time.Timer, ended <-chan error) (err error, readerEnded bool) {
	l.inflight.Store(cmd)
	switch cmd.kind {
	case ping:
		err = s.send("PING", cmd.payload)
	case subscribe:
		err = s.send("SUBSCRIBE", cmd.names...)
	case unsubscribe:
		err = s.send("UNSUBSCRIBE", cmd.names...)
	}
	if err != nil {
		return fmt.Errorf("write: %w", err), false
	}
	return l.await(ctx, cmd, timer, ended)
}

// await waits for the answer to a command that has been written. Nothing received
// for the heartbeat timeout ends it at first. Once something has been, silence may
// last half that and as long again as the command has been waiting: when we
// read more slowly than Redis sends, its kernel holds on a closed window, and
// if it does not hear of the room that there is, it asks at intervals that double
// (RFC 9293 section 3.8.6.1).
func (l *link) await(ctx context.Context, cmd *command, timer *time.Timer, ended <-chan error) (err error, readerEnded bool) {
	limit := l.opts.HeartbeatTimeout
	progress := l.progress()
	timer.Reset(limit)
	for {
		select {
		case <-l.answered:
			return nil, false
		case <-timer.C:
			before := progress
			progress = l.progress()
			waited := l.now() - cmd.sent
			if progress == before || waited >= stallLimit*limit {
				return errUnanswered, false
			}
			timer.Reset(min(waited+limit/2, stallLimit*limit-waited))
		case err := <-ended:
			return err, true
		case <-ctx.Done():
			return ctx.Err(), false
		}
	}
}

// progress changes whenever anything has been received.
func (l *link) progress() uint64 { return l.received.Load() + l.answers.Load() }

// settle enters that the link is up once every gap has been reported.
func (l *link) settle() {
	if modes.LinkState(l.state.Load()) != modes.LinkSubscribing {
		return
	}
	if known, references, gaps := l.channels.size(); gaps == 0 {
		l.state.Store(int32(modes.LinkUp))
		l.log.Info("redis link up", "channels", known, "references", references)
	}
}

// enterDown enters that the link is down, and why. It returns whether that is
// news: the same failure at each attempt to reconnect is not.
func (l *link) enterDown(reason error) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	news = l.downReason == nil || l.downReason.Error() != reason.Error()
	l.state.Store(int32(modes.LinkDown))
	l.downReason = reason
	return news
}

// ready is nil when the link is up and every channel confirmed.
func (l *link) ready() error {
	state := modes.LinkState(l.state.Load())
	if state == modes.LinkUp {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.downReason == nil {
		return fmt.Errorf("%w: %v", ErrNotConnected, state)
	}
	return fmt.Errorf("%w: %w", ErrNotConnected, l.downReason)
}

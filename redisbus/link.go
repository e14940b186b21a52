package redisbus

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

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
	probe   bool     // it subscribes to the probe's channel
	payload string   // ping
	role    bool     // ping, with ROLE behind it
	sent    time.Duration
	at      time.Time // the same

	answered int // names, or of ping and role; the reader's alone
}

// link is one Pub/Sub connection to Redis and the channels that hash to it. Its
// goroutine, run, owns the connection: it makes it, is the only one to write to
// it, and for each life of it starts a reader and waits for its end.
type link struct {
	number   int
	opts     *Options
	log      *slog.Logger
	dialer   *dialer
	topology topology
	probe    *probe
	notes    *notes
	channels *channels
	epoch    time.Time

	wake      chan struct{} // capacity 1: channels has something new, or the probe
	check     chan struct{} // capacity 1: the server may be the master no more
	suspect   atomic.Bool   // check was not for the topology's sake
	answered  chan struct{} // capacity 1: the command in flight has been answered
	inflight  atomic.Pointer[command]
	reception *reception // of the present connection
	refusing  bool       // settle has told of refused channels; run's alone

	received  atomic.Uint64 // publications; written by the reader alone
	answers   atomic.Uint64
	state     atomic.Int32
	connects  atomic.Uint64
	roundTrip atomic.Int64
	lost      atomic.Uint64 // channels reported as lost
	rejected  atomic.Uint64 // subscriptions that Redis refused
	health    health
}

func newLink(number int, opts *Options, dialer *dialer, probe *probe, notes *notes) *link {
	l := &link{
		number:   number,
		opts:     opts,
		log:      opts.Log.With("link", number),
		dialer:   dialer,
		topology: dialer.topology,
		probe:    probe,
		notes:    notes,
		channels: newChannels(opts),
		epoch:    time.Now(),
		wake:     make(chan struct{}, 1),
		check:    make(chan struct{}, 1),
		answered: make(chan struct{}, 1),
	}
	l.health.set(errUnconnected)
	return l
}

func (l *link) now() time.Duration { return time.Since(l.epoch) }

func (l *link) notify() { signal(l.wake) }

// signal puts a value into a channel of capacity 1, unless it has one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// moved has the link look whether its server is still the one that the topology
// says.
func (l *link) moved() { signal(l.check) }

// doubt has the link ask its server at once whether it is the master.
func (l *link) doubt() {
	l.suspect.Store(true)
	signal(l.check)
}

// run keeps the link up until ctx ends and the dialer is closed.
func (l *link) run(ctx context.Context, receiver modes.Receiver) {
	pause := backoff{least: l.opts.ReconnectMin, most: l.opts.ReconnectMax}
	for {
		c, err := l.dialer.connect(ctx)
		if err == nil {
			began := l.now()
			err = l.serve(ctx, c, receiver)
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
			l.log.Warn("redis link down, reconnecting", "error", textOf(err))
		}
		if !pause.wait(ctx) {
			return
		}
	}
}

// serve uses the connection until it breaks, and returns why it did.
func (l *link) serve(ctx context.Context, c *conn, receiver modes.Receiver) error {
	l.inflight.Store(nil)
	select {
	case <-l.answered:
	default:
	}
	l.suspect.Store(false)
	l.reception = new(reception)
	if !c.role {
		l.notes.noRole(l.opts.Log)
	}
	l.channels.connect()
	l.connects.Add(1)
	l.state.Store(int32(modes.LinkSubscribing))

	ended := make(chan error, 1)
	go func() { ended <- l.read(c, receiver) }()

	err, readerEnded := l.drive(ctx, c, ended)
	l.state.Store(int32(modes.LinkDown))
	// It is of no use any more.
	_ = c.Close()
	if !readerEnded {
		l.log.Debug("redis link closed", "error", <-ended)
	}
	// Not before the reader has ended, so that a late answer cannot touch what
	// the next connection asks for.
	l.channels.disconnect().call()
	return err
}

// idleInterval is the time between two PINGs on a connection with no subscription
// at all: Redis closes such a one after its setting timeout, of at least a second.
const idleInterval = 500 * time.Millisecond

// interval is the time between two PINGs.
func (l *link) interval() time.Duration {
	if l.reception.since.Load() == nil && l.channels.idle() {
		return min(l.opts.HeartbeatInterval, idleInterval)
	}
	return l.opts.HeartbeatInterval
}

// drive writes commands until the link breaks or ctx ends.
func (l *link) drive(ctx context.Context, c *conn, ended <-chan error) (err error, readerEnded bool) {
	timer := time.NewTimer(l.opts.HeartbeatInterval)
	defer timer.Stop()
	cmd := &command{kind: subscribe, names: []string{l.probe.name}, probe: true}
	if err, readerEnded = l.exchange(ctx, c, cmd, timer, ended); err != nil {
		return err, readerEnded
	}
	l.settle()
	watch := watch{probe: l.probe, received: l.reception, timeout: l.opts.HeartbeatTimeout}
	pinged := l.now()
	for sequence := 0; ; {
		if err := l.misplaced(c); err != nil {
			return err, false
		}
		now := l.now()
		found := watch.look(time.Now())
		if found.broken {
			return errNoProbe, false
		}
		cmd := &command{}
		var again time.Duration
		nextPing := pinged + l.interval()
		if now >= nextPing || found.ping || l.suspect.Swap(false) {
			pinged = now
			sequence++
			cmd.kind, cmd.payload, cmd.role = ping, strconv.Itoa(sequence), c.role && c.resp3
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
			if err, readerEnded = l.exchange(ctx, c, cmd, timer, ended); err != nil {
				return err, readerEnded
			}
			l.settle()
			continue
		}
		next := nextPing
		if again > 0 {
			next = min(next, again)
		}
		if !found.again.IsZero() {
			next = min(next, found.again.Sub(l.epoch))
		}
		timer.Reset(next - now)
		select {
		case <-l.wake:
		case <-l.check:
		case <-timer.C:
		case err := <-ended:
			return err, true
		case <-ctx.Done():
			return ctx.Err(), false
		}
	}
}

// misplaced is why a connection should be given up that works, or nil.
func (l *link) misplaced(c *conn) error {
	switch {
	case !l.topology.current(c.addr, c.RemoteAddr()):
		return errMoved
	case l.suspect.Load() && !(c.role && c.resp3):
		// It cannot be asked.
		return fmt.Errorf("%w: so the connection for publishing has found", errNotMaster)
	}
	return nil
}

// exchange writes one command and waits for its answer.
func (l *link) exchange(ctx context.Context, c *conn, cmd *command, timer *time.Timer, ended <-chan error) (err error, readerEnded bool) {
	cmd.at = time.Now()
	cmd.sent = cmd.at.Sub(l.epoch)
	l.inflight.Store(cmd)
	switch cmd.kind {
	case ping:
		c.command("PING", cmd.payload)
		if cmd.role {
			c.command("ROLE")
		}
	case subscribe:
		c.command("SUBSCRIBE", cmd.names...)
	case unsubscribe:
		c.command("UNSUBSCRIBE", cmd.names...)
	}
	if err := c.flush(); err != nil {
		return fmt.Errorf("write: %w", err), false
	}
	return l.await(ctx, c, cmd, timer, ended)
}

// await waits for the answer to a command that has been written. Nothing received
// for the heartbeat timeout ends it at first. Once something has been, silence may
// last half that and as long again as the command has been waiting: when we
// read more slowly than Redis sends, its kernel holds on a closed window, and
// if it does not hear of the room that there is, it asks at intervals that double
// (RFC 9293 section 3.8.6.1).
func (l *link) await(ctx context.Context, c *conn, cmd *command, timer *time.Timer, ended <-chan error) (err error, readerEnded bool) {
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
		case <-l.check:
			if err := l.misplaced(c); err != nil {
				return err, false
			}
		case err := <-ended:
			return err, true
		case <-ctx.Done():
			return ctx.Err(), false
		}
	}
}

// progress changes whenever anything has been received.
func (l *link) progress() uint64 { return l.received.Load() + l.answers.Load() }

// settle enters that the link is up once every gap has been reported, and tells of
// channels that Redis begins to refuse, or ceases to.
func (l *link) settle() {
	refused, some, reason := l.channels.refusals()
	switch {
	case refused > 0 && !l.refusing:
		l.log.Warn("redis refuses channels that are subscribed to: asking again", "channels", some, "error", textOf(reason))
	case refused == 0 && l.refusing:
		l.log.Info("redis refuses no channel any more")
	}
	l.refusing = refused > 0
	if modes.LinkState(l.state.Load()) != modes.LinkSubscribing {
		return
	}
	if known, references, gaps := l.channels.size(); gaps == 0 {
		l.health.set(nil)
		l.state.Store(int32(modes.LinkUp))
		l.log.Info("redis link up", "channels", known, "references", references)
	}
}

// enterDown enters that the link is down, and why. It reports whether that is
// news: the same failure at each attempt to reconnect is not.
func (l *link) enterDown(reason error) (news bool) {
	l.state.Store(int32(modes.LinkDown))
	return l.health.set(reason)
}

// ready is nil when the link is up and every channel confirmed.
func (l *link) ready() error {
	state := modes.LinkState(l.state.Load())
	if state == modes.LinkUp {
		if n, some, reason := l.channels.refusals(); n > 0 {
			return fmt.Errorf("redis refuses %d channels that are subscribed to (%s): %s", n, strings.Join(some, ", "), textOf(reason))
		}
		return nil
	}
	if reason := l.health.get(); reason != nil {
		return fmt.Errorf("%w: %s", ErrNotConnected, textOf(reason))
	}
	return fmt.Errorf("%w: %v", ErrNotConnected, state)
}

//go:build linux

package optimized

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/liveness"
	"github.com/tandem-ws/tandem/modes/optimized/netpoll"
	"github.com/tandem-ws/tandem/modes/optimized/sys"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

const (
	// readBuffer is the size of the loop's own buffer, and the most that one
	// connection is read in one turn.
	readBuffer = 64 << 10
	// deflatedRead is the same for a connection that may compress what it sends,
	// by a factor of up to 1,032: the time that all of it takes to inflate is
	// time that others wait.
	deflatedRead = 4 << 10
	// sweepInterval is how often unfinished input is looked through.
	sweepInterval = time.Second
	// farAway is when a loop wakes up that has nothing to wait for.
	farAway = time.Hour
)

// listenerToken marks the listening socket's events.
var listenerToken = netpoll.Token{Index: none}

// loop is one event loop. Everything but the inbox, busy, audiences' wants, and
// what does not change after newLoop belongs to its own goroutine, run.
type loop struct {
	engine  *Engine
	number  int
	poller  *netpoll.Poller
	inbox   inbox
	busy    atomic.Int64  // nanoseconds that it was not waiting, up to its last rest
	stopped chan struct{} // closed when run has ended

	now        time.Time // of this turn
	ready      bool      // there may be events that Readable will not announce
	again      []handle  // who has more to read, or acceptAgain
	spareAgain []handle
	slab       slab
	wheel      *wheel
	inputs     table[input]
	outboxes   table[outbox]
	audiences  table[audience]
	left       []leaving // since the inbox was emptied last
	more       table[[]subscription]
	// addresses is what connections count as where limits hold for one address.
	addresses map[uint32]admission.Address
	sockets   sockets
	ledgers   map[uint32]*ledger // by the record's index
	expiries  expiries
	watches   map[uint32]*liveness.Watch // of connections that are overdue, by the record's index
	failed    []failure                  // connections that end before the loop goes on

	// security is nil where TLS is not spoken.
	security *security

	// reading
	buffer     []byte
	parser     *parser   // for bytes that belong to no unfinished input
	parsers    []*parser // spare
	lastSweep  time.Time
	reply      []byte // what the connection at hand is to be sent
	inflated   []byte // room for the compressed message at hand
	peer       peer
	handshaker *handshaker

	// accepting
	listener int // -1: closed
	paused   bool
	resume   time.Time // when to go on, if paused

	// delivering
	publications []publication // the inbox's other half
	tasks        []func()
	batches      []*batch // spare
	due          []*audience
	joined       [][]byte // spare buffers for joined frames
	kept         bool     // an outbox refers to a shared buffer of this batch
	gaps         gaps
	draining     *drain
}

// acceptAgain in loop.again says that more sockets may wait to be accepted.
var acceptAgain = handle{index: none}

func newLoop(e *Engine, number, listener int) (*loop, error) {
	poller, err := netpoll.New()
	if err != nil {
		return nil, fmt.Errorf("optimized: %w", err)
	}
	l := &loop{
		engine: e, number: number, poller: poller, listener: listener,
		stopped:   make(chan struct{}),
		buffer:    make([]byte, readBuffer),
		addresses: make(map[uint32]admission.Address),
		sockets:   make(sockets),
		ledgers:   make(map[uint32]*ledger),
		watches:   make(map[uint32]*liveness.Watch),
		now:       time.Now(),
	}
	l.inbox.wake = make(chan struct{}, 1)
	l.wheel = newWheel(&l.slab, l.now)
	l.lastSweep = l.now
	l.parser = l.newParser()
	l.peer.loop = l
	l.handshaker = newHandshaker(e)
	if e.TLS != nil {
		l.security = &security{plaintext: make([]byte, plaintextBuffer)}
	}
	if err := poller.Add(listener, listenerToken); err != nil {
		return nil, errors.Join(fmt.Errorf("optimized: watch the listener: %w", err), poller.Close())
	}
	return l, nil
}

// release closes what newLoop opened. The loop is not running.
func (l *loop) release() error {
	l.closeListener()
	return l.poller.Close()
}

// run turns the loop until stop is closed. It returns with all connections
// closed.
func (l *loop) run(stop <-chan struct{}) error {
	defer l.end()
	idle := time.NewTimer(farAway)
	defer idle.Stop()
	alarm := time.Now().Add(farAway) // when idle fires
	l.ready = true
	rested := true
	var woke time.Time
	for {
		l.now = time.Now()
		if rested {
			woke, rested = l.now, false
		}
		var events []netpoll.Event
		if l.ready {
			var err error
			if events, err = l.poller.Poll(); err != nil {
				return err
			}
			l.ready = len(events) == netpoll.Batch
		}
		l.wheel.tell(l.now)
		for i := range events {
			l.handle(&events[i])
		}
		l.readAgain()
		worked := l.empty() || l.ready || len(l.again) > 0
		l.wheel.turn(l.now, l.fire)
		l.periodic()
		l.reap()
		if worked {
			// There may be more of the same, but a flood of it must not keep the
			// loop from seeing others, or that it has to stop.
			select {
			case <-stop:
				return nil
			case <-l.poller.Readable():
				l.ready = true
			default:
			}
			continue
		}
		rest := time.Now()
		rested = true
		l.busy.Add(int64(rest.Sub(woke)))
		// An alarm that has become too early is left: that costs a turn, and less
		// often than setting it anew before each rest.
		if at, ok := l.deadline(); ok && at.Before(alarm) {
			alarm = at
			idle.Reset(at.Sub(rest))
		}
		select {
		case <-stop:
			return nil
		case <-l.poller.Readable():
			l.ready = true
		case <-l.inbox.wake:
		case <-idle.C:
			alarm = time.Now().Add(farAway)
			idle.Reset(farAway)
		}
	}
}

// end closes every connection and tells those who wait for the loop.
func (l *loop) end() {
	for _, task := range l.inbox.close() {
		task()
		l.reap()
	}
	for index := range l.slab.top {
		if l.slab.at(index).state != free {
			l.close(index, wire.DisconnectConnectionClosed.Reason)
		}
	}
	// What is left are channels of requests that will not be completed. The
	// references that the bus has not answered for are given back when it does.
	for _, a := range l.audiences.items {
		if a != nil {
			a.asking, a.pending = false, 0
			l.releaseUnused(a)
		}
	}
	if l.draining != nil {
		l.draining.done()
	}
	close(l.stopped)
}

// empty takes what others have put into the inbox: publications first, for a
// task may add a subscriber to whom they are not due. False: there was nothing.
func (l *loop) empty() bool {
	var since modes.Instant
	l.publications, since, l.tasks = l.inbox.take(l.publications, l.tasks, l.left)
	clear(l.left)
	l.left = l.left[:0]
	if len(l.publications) == 0 && len(l.tasks) == 0 {
		return false
	}
	if len(l.publications) > 0 {
		l.fanOut(l.publications)
		clear(l.publications)
		l.engine.Stats.WriteLatency.Observe(since.Seconds())
	}
	for i, task := range l.tasks {
		task()
		l.tasks[i] = nil
		l.reap()
	}
	return true
}

// handle acts on one event.
func (l *loop) handle(event *netpoll.Event) {
	if event.Token == listenerToken {
		l.accept()
		return
	}
	index := event.Token.Index
	// The event may be older than the connection that has the place now.
	r := l.slab.find(handle{index, event.Token.Generation})
	if r == nil {
		return
	}
	if event.Writable && r.out != none {
		l.flushOutbox(index, r)
	}
	if event.Readable && !r.failed {
		l.read(index, r, event.Ended)
	}
	l.reap()
}

// deadline returns when the loop has to turn even if nothing happens.
func (l *loop) deadline() (time.Time, bool) {
	at, ok := l.wheel.next()
	sooner := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	if len(l.inputs.items) > len(l.inputs.unused) {
		sooner(l.lastSweep.Add(sweepInterval))
	}
	if l.paused && l.listener >= 0 {
		sooner(l.resume)
	}
	if len(l.expiries) > 0 {
		sooner(l.expiries[0].due)
	}
	if l.gaps.pending() {
		sooner(l.gaps.next)
	}
	if l.draining != nil {
		sooner(l.draining.next)
	}
	return at, ok
}

// periodic does what is due by the clock, other than the wheel.
func (l *loop) periodic() {
	if l.paused && !l.now.Before(l.resume) {
		l.resumeAccept()
	}
	if l.now.Sub(l.lastSweep) >= sweepInterval {
		l.lastSweep = l.now
		l.sweepInputs()
	}
	l.expire()
	l.endGaps()
	l.drainSome()
}

// readAgain goes on with the connections that had more to read, and with
// accepting, after everybody else has had a turn.
func (l *loop) readAgain() {
	l.again, l.spareAgain = l.spareAgain[:0], l.again
	for _, h := range l.spareAgain {
		if h == acceptAgain {
			l.accept()
		} else if r := l.slab.find(h); r != nil {
			l.read(h.index, r, true)
			l.reap()
		}
	}
}

// read takes what one connection has sent, at most a buffer of it. more says
// that there is something behind what one read takes, if only the end.
func (l *loop) read(index uint32, r *record, more bool) {
	if r.state == securing && l.shakeFull(index) || l.holds(r) {
		return
	}
	if l.resumeInput(index, r) {
		// It has its turn again, after all others, unless it is not to be read
		// for now.
		if !r.failed && !l.holds(r) {
			l.again = append(l.again, handle{index, r.generation})
		}
		return
	}
	buffer := l.buffer
	if r.deflate {
		buffer = buffer[:deflatedRead]
	}
	n, errno := sys.Receive(r.fd, buffer)
	switch {
	case n > 0:
		if more || n == len(buffer) {
			l.again = append(l.again, handle{index, r.generation})
		}
		l.received(index, r, buffer[:n])
	case errno == 0:
		l.inputEnded(index, r)
	case errno == unix.EAGAIN:
	default:
		l.markFailed(index, r, resetReason(r))
	}
}

// received acts on bytes that came over a connection's socket.
func (l *loop) received(index uint32, r *record, data []byte) {
	switch {
	case l.security == nil:
		l.engine.Stats.BytesIn.Add(uint64(len(data)))
		l.input(index, r, data)
		l.flush(index, r)
	case r.state == securing:
		l.shakeHands(index, r, data)
	case l.secureOf(index) == nil:
		// It has been turned away; input counts how often it goes on.
		l.input(index, r, data)
	default:
		l.unseal(index, r, data)
	}
}

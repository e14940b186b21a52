// Package liveness decides when a connection has to end because its client
// takes nothing that it is sent, or does not answer. Both engines use it, so
// that a slow line and a dead client are told apart in the same way.
package liveness

import (
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

const (
	// unpingedTimeout is WriteTimeout if clients are not pinged.
	unpingedTimeout = 40 * time.Second
	// CloseLimit is the longest that a connection may take to end, even if its
	// client takes what was queued bit by bit.
	CloseLimit = 2 * time.Minute
	// checks is how often a client that is overdue is looked at within one
	// timeout.
	checks = 4
)

// WriteTimeout is how long a client may take nothing at all while bytes wait
// for it.
func WriteTimeout(l *modes.Limits) time.Duration {
	if l.PingInterval == 0 {
		return unpingedTimeout
	}
	return l.PingInterval + l.PongTimeout
}

// CheckInterval is how often to call Stalled within timeout.
func CheckInterval(timeout time.Duration) time.Duration { return timeout / checks }

// Flow is how far a connection's bytes have got, as the kernel sees it.
type Flow struct {
	// Acked counts the bytes that the peer has acknowledged so far.
	Acked uint64
	// Unacked is how many bytes the kernel holds that it has not acknowledged.
	Unacked uint64
}

// Watch follows one client that is overdue. The zero value has seen nothing.
// Its methods must not be called concurrently.
type Watch struct {
	first modes.Instant // of the calls; 0: there was none
	acked uint64
	// idle counts the calls in a row that saw no bytes acknowledged since the one
	// before. Calls and not time: where this process did not run for a while, its
	// clients may not have run either.
	idle    int
	target  uint64 // the ping is among the bytes before it
	arrived bool   // the client's kernel has the ping
}

// Begin notes how far the client has got, so that the next call can tell whether
// it takes bytes.
func (w *Watch) Begin(now modes.Instant, f Flow) {
	*w = Watch{first: now, acked: f.Acked}
}

// note begins if nothing has before, and else notes whether there is progress.
func (w *Watch) note(now modes.Instant, f Flow) {
	switch {
	case w.first == 0:
		w.Begin(now, f)
	case f.Acked > w.acked:
		w.acked, w.idle = f.Acked, 0
	default:
		w.idle++
	}
}

// Pong reports what becomes of a client whose answer to a ping is due now. The
// time to answer begins when the client has the ping: until then a client that
// takes bytes is alive. queued is how many bytes the engine holds behind and
// before the ping. unread says that the engine does not read from the client for
// now, and cannot have seen its answer.
//
// over: the connection ends with d; else Pong is to be called again after wait.
func (w *Watch) Pong(now modes.Instant, f Flow, queued int, unread bool, l *modes.Limits) (wait time.Duration, d wire.Disconnect, over bool) {
	wait = CheckInterval(l.PongTimeout)
	if w.first == 0 {
		ahead := f.Unacked + uint64(queued)
		if ahead == 0 && !unread {
			return 0, wire.DisconnectNoPong, true
		}
		w.Begin(now, f)
		w.target = f.Acked + ahead
		return wait, d, false
	}
	if w.arrived && !unread {
		return 0, wire.DisconnectNoPong, true
	}
	w.note(now, f)
	stalled := time.Duration(w.idle) * wait
	switch {
	case f.Acked >= w.target && !unread:
		w.arrived = true
		return l.PongTimeout, d, false
	case queued > 0 && stalled >= WriteTimeout(l):
		return 0, wire.DisconnectSlow, true
	case queued == 0 && w.idle >= checks:
		return 0, wire.DisconnectNoPong, true
	}
	return wait, d, false
}

// Stalled reports whether a client for which bytes wait has taken none for
// timeout. It is called every CheckInterval.
func (w *Watch) Stalled(now modes.Instant, f Flow, timeout time.Duration) bool {
	w.note(now, f)
	// The first call is a CheckInterval after the beginning.
	return w.idle >= checks-1
}

// Closing reports whether a connection that is being closed must end now. It is
// called modes.CloseWait after the close frame, and again after wait: a client
// that still takes bytes gets them all, within CloseLimit.
func (w *Watch) Closing(now modes.Instant, f Flow, queued int) (wait time.Duration, over bool) {
	if f.Unacked+uint64(queued) == 0 {
		return 0, true
	}
	w.note(now, f)
	if w.idle >= 2 || time.Duration(now-w.first) >= CloseLimit {
		return 0, true
	}
	return modes.CloseWait / 2, false
}

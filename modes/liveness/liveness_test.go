package liveness

import (
	"testing"
	"time"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

var limits = modes.Limits{PingInterval: 25 * time.Second, PongTimeout: 8 * time.Second}

// pong drives a Watch from the moment that a pong is due until the connection
// ends or the time is over.
func pong(until time.Duration, at func(time.Duration) (f Flow, queued int, unread bool)) (wire.Disconnect, time.Duration) {
	var w Watch
	for passed := time.Duration(0); passed < until; {
		f, queued, unread := at(passed)
		wait, d, over := w.Pong(modes.Instant(passed)+1, f, queued, unread, &limits)
		if over {
			return d, passed
		}
		passed += wait
	}
	return wire.Disconnect{}, until
}

func TestPong(t *testing.T) {
	second := func(d time.Duration) uint64 { return uint64(d / time.Second) }
	for name, c := range map[string]struct {
		at       func(time.Duration) (Flow, int, bool)
		end      wire.Disconnect
		from, to time.Duration
	}{
		"it has everything": {
			func(time.Duration) (Flow, int, bool) { return Flow{Acked: 100}, 0, false },
			wire.DisconnectNoPong, 0, 0,
		},
		"the kernel's bytes are not acknowledged": {
			func(time.Duration) (Flow, int, bool) { return Flow{Acked: 100, Unacked: 10}, 0, false },
			wire.DisconnectNoPong, 8 * time.Second, 10 * time.Second,
		},
		"nothing is taken": {
			func(time.Duration) (Flow, int, bool) { return Flow{Acked: 100, Unacked: 10}, 1000, false },
			wire.DisconnectSlow, 33 * time.Second, 35 * time.Second,
		},
		"a slow line": {
			func(d time.Duration) (Flow, int, bool) {
				return Flow{Acked: second(d), Unacked: 1000}, max(0, 99_000-int(second(d))), false
			},
			wire.Disconnect{}, 10 * time.Hour, 10 * time.Hour,
		},
		"a slow line, and no answer at its end": {
			func(d time.Duration) (Flow, int, bool) {
				left := 60 - min(60, second(d))
				return Flow{Acked: 60 - left, Unacked: left}, 0, false
			},
			wire.DisconnectNoPong, 68 * time.Second, 70 * time.Second,
		},
		"publications all the time, and no answer": {
			func(d time.Duration) (Flow, int, bool) {
				return Flow{Acked: 100 * second(d), Unacked: 100}, 0, false
			},
			wire.DisconnectNoPong, 8 * time.Second, 12 * time.Second,
		},
		"it is not read": {
			func(d time.Duration) (Flow, int, bool) { return Flow{Acked: second(d), Unacked: 1}, 1, true },
			wire.Disconnect{}, 10 * time.Hour, 10 * time.Hour,
		},
	} {
		if end, after := pong(10*time.Hour, c.at); end != c.end || after < c.from || after > c.to {
			t.Errorf("%s: got %q after %v, want %q after %v to %v", name, end.Reason, after, c.end.Reason, c.from, c.to)
		}
	}
}

func TestStalled(t *testing.T) {
	stalled := func(flow func(time.Duration) Flow) time.Duration {
		var w Watch
		const timeout = 40 * time.Second
		for passed := CheckInterval(timeout); passed < time.Hour; passed += CheckInterval(timeout) {
			if w.Stalled(modes.Instant(passed), flow(passed), timeout) {
				return passed
			}
		}
		return time.Hour
	}
	if got := stalled(func(time.Duration) Flow { return Flow{Acked: 7} }); got != 40*time.Second {
		t.Errorf("a client that takes nothing has stalled after %v", got)
	}
	if got := stalled(func(d time.Duration) Flow { return Flow{Acked: uint64(d / (25 * time.Second))} }); got != time.Hour {
		t.Errorf("a slow client has stalled after %v", got)
	}
}

func TestClosing(t *testing.T) {
	closed := func(flow func(time.Duration) Flow, queued int) time.Duration {
		var w Watch
		for passed := modes.CloseWait; ; {
			wait, over := w.Closing(modes.Instant(passed), flow(passed), queued)
			if over {
				return passed
			}
			passed += wait
		}
	}
	if got := closed(func(time.Duration) Flow { return Flow{Acked: 7} }, 0); got != modes.CloseWait {
		t.Errorf("a client that has everything is closed after %v", got)
	}
	if got := closed(func(time.Duration) Flow { return Flow{Acked: 7, Unacked: 1} }, 1); got != 2*modes.CloseWait {
		t.Errorf("a client that takes nothing is closed after %v", got)
	}
	if got := closed(func(d time.Duration) Flow { return Flow{Acked: uint64(d), Unacked: 1} }, 1); got < CloseLimit || got > CloseLimit+2*modes.CloseWait {
		t.Errorf("a client that takes bytes for ever is closed after %v", got)
	}
}

package redisbus

import (
	"crypto/rand"
	"strconv"
	"sync/atomic"
	"time"
)

// probeName is what a node's probe channel is called, its own part apart.
const probeName = "tandem.probe."

// probe proves that what is published arrives: with each heartbeat the command
// link publishes a number on a channel of the node's own, and every Pub/Sub link
// has to receive it.
type probe struct {
	name   string // of the channel in Redis
	latest atomic.Pointer[probed]
}

// probed is one publication of the probe that Redis has accepted.
type probed struct {
	sequence       uint64
	sent, accepted time.Time
}

func newProbe(prefix string) *probe { return &probe{name: prefix + probeName + rand.Text()} }

// reception is what a Pub/Sub connection has received of the probe, and of its own
// PINGs. The reader writes it.
type reception struct {
	since    atomic.Pointer[time.Time] // when Redis confirmed the probe's channel; nil: it has not
	sequence atomic.Uint64             // received last
	pinged   atomic.Pointer[time.Time] // when the PING was sent that was answered last
}

// enter takes a message of the probe.
func (r *reception) enter(payload []byte) {
	if n, err := strconv.ParseUint(string(payload), 10, 64); err == nil {
		r.sequence.Store(n)
	}
}

// watch judges a Pub/Sub connection by the probe. The link's owner has one for
// each connection.
type watch struct {
	probe    *probe
	received *reception
	timeout  time.Duration
	awaited  *probed // published and not received yet
}

// verdict is what a watch finds.
type verdict struct {
	broken bool      // the connection leads to a server that does not have what we publish
	ping   bool      // a PING is wanted now, to find out
	again  time.Time // when to look again; zero: never
}

// look judges the connection. A probe that does not come may stand behind a burst
// of other publications; so does the answer to a PING that is sent after Redis has
// accepted the probe. Once that is there, the probe will not come.
func (w *watch) look(now time.Time) verdict {
	since := w.received.since.Load()
	if since == nil {
		return verdict{}
	}
	if w.awaited != nil && w.received.sequence.Load() >= w.awaited.sequence {
		w.awaited = nil
	}
	if w.awaited == nil {
		latest := w.probe.latest.Load()
		if latest == nil || latest.sent.Before(*since) || w.received.sequence.Load() >= latest.sequence {
			return verdict{}
		}
		w.awaited = latest
	}
	due := w.awaited.accepted.Add(w.timeout)
	if now.Before(due) {
		return verdict{again: due}
	}
	if pinged := w.received.pinged.Load(); pinged != nil && pinged.After(w.awaited.accepted) {
		return verdict{broken: true}
	}
	return verdict{ping: true}
}

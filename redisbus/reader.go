package redisbus

import (
	"fmt"
	"time"

	"github.com/tandem-ws/tandem/modes"
)

// read hands publications to the receiver and answers to the command in flight,
// until the connection breaks; it returns why. It is the only goroutine between
// Redis and the receiver, which keeps the order of a channel.
func (l *link) read(c *conn, receiver modes.Receiver) error {
	probe := l.probe.name
	return c.receive(func(r reply) error {
		switch r.kind {
		case messageReply:
			if string(r.channel) == probe {
				l.reception.enter(r.payload)
				return nil
			}
			if len(r.channel) < len(l.opts.Prefix) {
				return fmt.Errorf("%w: message on %q", errProtocol, r.channel)
			}
			l.received.Add(1)
			receiver.Deliver(modes.Publication{Channel: r.channel[len(l.opts.Prefix):], Data: r.payload})
			return nil
		case pongReply:
			return l.pong(r)
		case roleReply:
			return l.role(r, c)
		case errorReply:
			return l.refused(r, receiver)
		}
		return l.subscription(r, receiver)
	}, receiver.Flush)
}

// subscription enters one of the answers to SUBSCRIBE or UNSUBSCRIBE; there is
// one for each channel, in the order of the command. They are entered together
// when the last has come, as Redis writes them together.
func (l *link) subscription(r reply, receiver modes.Receiver) error {
	cmd := l.inflight.Load()
	if cmd == nil || cmd.kind.answer() != r.kind ||
		cmd.answered == len(cmd.names) || cmd.names[cmd.answered] != string(r.channel) {
		return fmt.Errorf("%w: %v of %q", errProtocol, r.kind, r.channel)
	}
	cmd.answered++
	if cmd.answered < len(cmd.names) {
		return nil
	}
	if cmd.probe {
		now := time.Now()
		l.reception.since.Store(&now)
		l.finish()
		return nil
	}
	if r.kind == subscribeReply {
		l.reportLost(cmd.names, true, receiver)
		confirmed, wake := l.channels.confirmSubscribe(cmd.names, l.now())
		if wake {
			l.notify()
		}
		// Before the reader goes on, so that whoever asked is there for the first
		// publication.
		confirmed.call()
	} else {
		l.channels.confirmUnsubscribe(cmd.names)
	}
	l.finish()
	return nil
}

// reportLost tells the receiver of gaps. Redis has just subscribed us to the
// names, or refused to, and the reader has not gone on, so no publication that
// came after the gap has been delivered yet.
func (l *link) reportLost(names []string, confirmed bool, receiver modes.Receiver) {
	if lost := l.channels.lost(names, confirmed); len(lost) > 0 {
		l.lost.Add(uint64(len(lost)))
		receiver.Lost(lost)
	}
}

func (l *link) pong(r reply) error {
	cmd := l.inflight.Load()
	if cmd == nil || cmd.kind != ping || cmd.answered > 0 || cmd.payload != string(r.payload) {
		return fmt.Errorf("%w: PONG %q", errProtocol, r.payload)
	}
	roundTrip := l.now() - cmd.sent
	l.roundTrip.Store(int64(roundTrip))
	l.reception.pinged.Store(&cmd.at)
	l.opts.Heartbeat(l.number, roundTrip)
	if cmd.answered++; !cmd.role {
		l.finish()
	}
	return nil
}

// role enters what the server is.
func (l *link) role(r reply, c *conn) error {
	cmd := l.inflight.Load()
	if cmd == nil || cmd.kind != ping || !cmd.role || cmd.answered != 1 {
		return fmt.Errorf("%w: the role %q", errProtocol, r.payload)
	}
	if role := string(r.payload); role != "master" {
		return fmt.Errorf("%w: %s has become a replica", errNotMaster, c.addr)
	}
	l.finish()
	return nil
}

// refused enters that Redis answered with an error. When it is no answer to a
// command that may be refused, the link is broken.
func (l *link) refused(r reply, receiver modes.Receiver) error {
	err := refusal(r.payload)
	cmd := l.inflight.Load()
	switch {
	case cmd == nil:
		return fmt.Errorf("read: %w", err)
	case cmd.kind == ping && cmd.role && cmd.answered == 1:
		// It was allowed once.
		l.notes.noRole(l.opts.Log)
	case cmd.kind != subscribe || cmd.answered > 0:
		return fmt.Errorf("read: %w", err)
	case cmd.probe:
		l.notes.noProbe(l.opts.Log, err)
	default:
		if len(cmd.names) == 1 {
			l.rejected.Add(1)
			l.reportLost(cmd.names, false, receiver)
		}
		l.channels.refuse(cmd.names, l.now(), err).call()
	}
	l.finish()
	return nil
}

// finish lets the link write its next command.
func (l *link) finish() {
	l.inflight.Store(nil)
	l.answers.Add(1)
	l.answered <- struct{}{}
}

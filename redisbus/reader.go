package redisbus

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/tandem-ws/tandem/modes"
)

// How go-redis is to read: clearDeadline takes away what an earlier read has set,
// keepDeadline saves doing so for each message. The heartbeat ends a read that
// hangs, by closing the connection.
const (
	clearDeadline time.Duration = 0
	keepDeadline  time.Duration = -1
)

// read hands publications to the receiver and answers to the commands in flight,
// until the connection breaks; it returns why. It is the only goroutine between
// Redis and the receiver, which keeps the order of a channel.
func (l *link) read(pubsub *redis.PubSub, receiver modes.Receiver) error {
	ctx := context.Background()
	for deadline := clearDeadline; ; deadline = keepDeadline {
		received, err := pubsub.ReceiveTimeout(ctx, deadline)
		if err != nil {
			if err = l.failed(err, receiver); err != nil {
				return err
			}
			continue
		}
		switch received := received.(type) {
		case *redis.Message:
			l.received.Add(1)
			receiver.Deliver(l.channels.channel(received.Channel), bytesOf(received.Payload))
		case *redis.Subscription:
			err = l.subscription(received, receiver)
		case *redis.Pong:
			err = l.pong(received)
		}
		if err != nil {
			return err
		}
	}
}

// bytesOf returns the bytes of a payload without copying them. go-redis makes
// them anew for each message, as a byte slice of which the string is a view, and
// keeps no reference that it reads again (TestPayloadIsOurs). What it saves, see
// BenchmarkPayloadBytes: an allocation and a copy, which for a message of 16 KB
// is more than all else that the bus does with it.
func bytesOf(payload string) []byte {
	return unsafe.Slice(unsafe.StringData(payload), len(payload))
}

// subscription enters one of the answers to SUBSCRIBE or UNSUBSCRIBE; there is
// one for each channel, in the order of the command. They are entered together
// when the last has come, as Redis writes them together.
func (l *link) subscription(answer *redis.Subscription, receiver modes.Receiver) error {
	cmd := l.inflight.Load()
	if cmd == nil || cmd.answered == len(cmd.names) || cmd.names[cmd.answered] != answer.Channel {
		return fmt.Errorf("%w: %s of %q", errProtocol, answer.Kind, answer.Channel)
	}
	cmd.answered++
	if cmd.answered < len(cmd.names) {
		return nil
	}
	switch {
	case cmd.kind == subscribe && answer.Kind == "subscribe":
		l.reportLost(cmd.names, receiver)
		if l.channels.confirmSubscribe(cmd.names, l.now()) {
			l.notify()
		}
	case cmd.kind == unsubscribe && answer.Kind == "unsubscribe":
		l.channels.confirmUnsubscribe(cmd.names)
	default:
		return fmt.Errorf("%w: %s of %q", errProtocol, answer.Kind, answer.Channel)
	}
	l.finish()
	return nil
}

// reportLost tells the receiver of gaps. Redis has just subscribed us to the
// names, and the reader has not gone on, so no publication that came after the
// gap has been delivered yet.
func (l *link) reportLost(names []string, receiver modes.Receiver) {
	if lost := l.channels.lost(names); len(lost) > 0 {
		l.lost.Add(uint64(len(lost)))
		receiver.Lost(lost)
	}
}

func (l *link) pong(answer *redis.Pong) error {
	cmd := l.inflight.Load()
	if cmd == nil || cmd.kind != ping || cmd.payload != answer.Payload {
		return fmt.Errorf("%w: PONG %q", errProtocol, answer.Payload)
	}
	roundTrip := l.now() - cmd.sent
	l.roundTrip.Store(int64(roundTrip))
	l.opts.Heartbeat(l.number, roundTrip)
	l.finish()
	return nil
}

// failed enters that Redis answered with an error. It returns the error when it
// is not an answer, or not one to a SUBSCRIBE: then the link is broken.
func (l *link) failed(err error, receiver modes.Receiver) error {
	var answer redis.Error
	cmd := l.inflight.Load()
	if !errors.As(err, &answer) || cmd == nil || cmd.kind != subscribe || cmd.answered > 0 {
		return fmt.Errorf("read: %w", err)
	}
	if len(cmd.names) == 1 {
		l.refused.Add(1)
		l.reportLost(cmd.names, receiver)
	}
	l.channels.refuse(cmd.names, err)
	l.finish()
	return nil
}

// finish lets the link write its next command.
func (l *link) finish() {
	l.inflight.Store(nil)
	l.answers.Add(1)
	l.answered <- struct{}{}
}

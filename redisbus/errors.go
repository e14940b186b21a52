package redisbus

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrNotConnected says that the link to Redis is down. It comes back by
	// itself, so the call may be repeated later.
	ErrNotConnected = errors.New("redisbus: not connected to Redis")

	// ErrPublishQueueFull says that more is being published than Redis takes;
	// the message was dropped.
	ErrPublishQueueFull = errors.New("redisbus: publish queue full")

	// ErrClosed says that the bus has been closed.
	ErrClosed = errors.New("redisbus: closed")

	errSubscribeTimeout = fmt.Errorf("redisbus: subscribe: no answer from Redis in time: %w", context.DeadlineExceeded)

	errUnanswered = errors.New("redisbus: no answer from Redis in time")
	errRedial     = errors.New("redisbus: go-redis may not reconnect by itself")
	errProtocol   = errors.New("redisbus: unexpected answer from Redis")
)

// refusal is the text of an error that Redis answered with, such as
// "NOPERM this user has no permissions to access one of the channels".
type refusal string

func (r refusal) Error() string { return string(r) }

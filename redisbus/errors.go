package redisbus

import (
	"context"
	"errors"
	"fmt"
	"regexp"
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

	errUnconnected = errors.New("redisbus: not connected yet")
	errUnanswered  = errors.New("redisbus: no answer from Redis in time")
	errNotMaster   = errors.New("redisbus: not a master")
	errNoProbe     = errors.New("redisbus: what is published does not arrive: the connection leads to another Redis")
	errMoved       = errors.New("redisbus: the master is at another address")
	errProtocol    = errors.New("redisbus: unexpected answer from Redis")
)

// sources are the local ends of connections in the errors of package net. Each
// attempt has another port.
var sources = regexp.MustCompile(`\S+->`)

// textOf is the text of err as it is reported: the same for the same reason.
func textOf(err error) string {
	if err == nil {
		return ""
	}
	return sources.ReplaceAllString(err.Error(), "")
}

// cause is what makes two errors the same to an operator: what Redis has answered,
// whatever was being done, and otherwise all of the text.
func cause(err error) string {
	if r := refusal(""); errors.As(err, &r) {
		return string(r)
	}
	return textOf(err)
}

// refusal is the text of an error that Redis answered with, such as
// "NOPERM this user has no permissions to access one of the channels".
type refusal string

func (r refusal) Error() string { return string(r) }

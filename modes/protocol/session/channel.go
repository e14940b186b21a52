package session

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/centrifugal/protocol"

	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Errors of CheckChannel.
var (
	ErrChannelName     = errors.New("session: not the name of a channel")
	ErrChannelReserved = errors.New("session: Redis reserves this name")
)

// reservedNames are what the names of channels begin with that Redis, or Sentinel,
// publishes to by itself: their messages reveal the topology and the names of keys,
// and a message of a client's could make Sentinel switch to another master.
var reservedNames = [...]string{
	"__sentinel__:", // Sentinels talk to each other here
	"__redis__:",    // client-side caching: __redis__:invalidate
	"__keyspace@", "__keyevent@",
	"__subkeyspace", "__subkeyevent", // of hash fields; an item, event or @ follows
}

// Reserved reports whether channel, with prefix before it, is a name that Redis
// reserves. prefix alone may hold any part of such a name.
func Reserved(prefix, channel string) bool {
	for _, name := range reservedNames {
		head := min(len(prefix), len(name))
		if prefix[:head] == name[:head] && strings.HasPrefix(channel, name[head:]) {
			return true
		}
	}
	return false
}

// CheckChannel returns nil if there may be a channel of this name: 1 to
// MaxChannelLength bytes of UTF-8 without control characters that Redis does not
// reserve. Else the error wraps ErrChannelName or ErrChannelReserved.
func (r *Rules) CheckChannel(name string) error {
	switch r.channelError(name) {
	case nil:
		return nil
	case wire.ErrorUnknownChannel:
		return fmt.Errorf("%w: with REDIS_PREFIX it is %q", ErrChannelReserved, r.RedisPrefix+name)
	}
	return fmt.Errorf("%w: write 1 to %d bytes of UTF-8 without control characters", ErrChannelName, r.MaxChannelLength)
}

// channelError returns the error that answers a command for a channel of this name;
// nil if there may be one.
func (r *Rules) channelError(name string) *protocol.Error {
	switch {
	case !r.valid(name):
		return wire.ErrorBadRequest
	case r.reserved(name):
		return wire.ErrorUnknownChannel
	}
	return nil
}

func (r *Rules) valid(channel string) bool {
	return channel != "" && len(channel) <= r.MaxChannelLength && printable(channel)
}

func (r *Rules) reserved(channel string) bool { return Reserved(r.RedisPrefix, channel) }

// Private reports whether a subscription to channel needs a token.
func (r *Rules) Private(channel string) bool {
	return r.Tokens != nil && r.PrivatePrefix != "" && strings.HasPrefix(channel, r.PrivatePrefix)
}

// printable reports whether s is UTF-8 without control characters.
func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return false
		}
	}
	return true
}

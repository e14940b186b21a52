package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"
)

// ErrMalformed says that a message holds something that is no command.
var ErrMalformed = errors.New("wire: malformed command")

// Commands decodes the commands in one message and hands each to handle, in
// order, until handle returns false. handle does not keep the command itself. The
// strings of a JSON command point into message: whoever keeps one clones it. A
// command without id and content is the answer to a ping.
//
// The error wraps ErrMalformed; the commands before the malformed one have been
// handled by then.
func Commands(p Protocol, message []byte, handle func(*protocol.Command) bool) error {
	if p == JSON {
		return jsonCommands(message, handle)
	}
	decoder := protocol.NewProtobufCommandDecoder(message)
	for {
		command, err := decoder.Decode()
		if command != nil && !handle(command) {
			return nil
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && command != nil:
			return nil
		default:
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
}

// jsonCommands reads one JSON object a line. The decoder takes null for an
// empty command, the protocol does not.
func jsonCommands(message []byte, handle func(*protocol.Command) bool) error {
	for {
		line, rest, more := bytes.Cut(message, []byte{'\n'})
		line = bytes.TrimLeft(line, " \t\r")
		if len(line) == 0 || line[0] != '{' {
			return fmt.Errorf("%w: a line is no JSON object", ErrMalformed)
		}
		// What the decoder of the protocol module does with one line, but into a
		// command that is used again.
		command := commands.Get().(*protocol.Command)
		command.Reset()
		if err := cfjson.Unmarshal(line, command, 0); err != nil {
			commands.Put(command)
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		on := handle(command)
		commands.Put(command)
		if !on || !more || len(rest) == 0 {
			return nil
		}
		message = rest
	}
}

// commands are the top level of what jsonCommands hands out. What hangs below
// is made anew for each, because handlers keep parts of it.
var commands = sync.Pool{New: func() any { return new(protocol.Command) }}

// IsPong reports whether message is the answer to a ping and nothing else, as SDKs
// send it.
func IsPong(p Protocol, message []byte) bool {
	if p == JSON {
		return string(message) == "{}"
	}
	return len(message) == 1 && message[0] == 0
}

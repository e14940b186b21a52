package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"
)

// ErrMalformed says that a message holds something that is no command.
var ErrMalformed = errors.New("wire: malformed command")

// Next decodes the first command of a message into command and returns the rest of
// the message, which is empty if there is none. The strings of a JSON command point
// into message, so what is kept must be cloned. A command without id and content is
// the answer to a ping. The error wraps ErrMalformed.
func Next(p Protocol, message []byte, command *protocol.Command) (rest []byte, err error) {
	command.Reset()
	if p == Protobuf {
		rest, err = nextProtobuf(message, command)
	} else {
		rest, err = nextJSON(message, command)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return rest, nil
}

// errNoObject refuses what the JSON decoder takes for an empty command, such as null.
var errNoObject = errors.New("a line is not a JSON object")

// nextJSON decodes the first line of message.
func nextJSON(message []byte, command *protocol.Command) (rest []byte, err error) {
	line, rest, _ := bytes.Cut(message, []byte{'\n'})
	line = bytes.TrimLeft(line, " \t\r")
	if len(line) == 0 || line[0] != '{' {
		return nil, errNoObject
	}
	return rest, cfjson.Unmarshal(line, command, 0)
}

// nextProtobuf decodes the first command of message, which its length precedes.
func nextProtobuf(message []byte, command *protocol.Command) (rest []byte, err error) {
	length, n := binary.Uvarint(message)
	if n <= 0 || length > uint64(len(message)-n) {
		return nil, io.ErrUnexpectedEOF
	}
	end := n + int(length)
	return message[end:], command.UnmarshalCF(message[n:end])
}

// MoreCommands reports whether message holds more than most commands. It decodes
// none, and does not look at messages that are too short.
func MoreCommands(p Protocol, message []byte, most int) bool {
	if len(message) <= most {
		// The shortest command is one byte long: an empty one in protobuf.
		return false
	}
	for n := 0; len(message) > 0; n++ {
		if n == most {
			return true
		}
		if p != Protobuf {
			_, message, _ = bytes.Cut(message, []byte{'\n'})
			continue
		}
		length, size := binary.Uvarint(message)
		if size <= 0 || length > uint64(len(message)-size) {
			return false
		}
		message = message[size+int(length):]
	}
	return false
}

// IsPong reports whether message is the answer to a ping and nothing else, as SDKs
// send it.
func IsPong(p Protocol, message []byte) bool {
	if p == JSON {
		return string(message) == "{}"
	}
	return len(message) == 1 && message[0] == 0
}

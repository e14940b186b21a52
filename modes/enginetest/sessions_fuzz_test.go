//go:build linux

package enginetest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/centrifugal/protocol"
	"github.com/gobwas/ws"
	"google.golang.org/protobuf/proto"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/enginetest/kit"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// FuzzSessions sends both engines the same commands of the Centrifuge protocol, in
// JSON or in Protobuf, one message at a time, because what Redis confirms is answered in
// any order.
func FuzzSessions(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(randomProgram(seed), seed)
	}
	p := startPair(f, func(s *kit.Setup) {
		s.Rules = session.Rules{Version: kit.Version, MaxChannels: 3, MaxChannelLength: 20, ClientPublish: true}
	})
	f.Fuzz(func(t *testing.T, program []byte, seed uint64) {
		c := choices(program)
		target, encoding := modes.PathCentrifuge, wire.JSON
		if c.next()&1 == 1 {
			target, encoding = modes.PathCentrifuge+"?format=protobuf", wire.Protobuf
		}
		messages := c.messages(encoding)
		p.same(t, fmt.Sprintf("%q to %s, seed %d", messages, target, seed), func(t *testing.T, n *kit.Node) outcome {
			client := n.Open(t, target)
			defer client.Leave()
			client.Protocol = encoding
			return converse(client, messages, seed)
		})
	})
}

// Commands, of which %d is the id; those in front more often.
var fuzzCommands = []string{
	`{"id":%d,"subscribe":{"channel":"a"}}`, `{"id":%d,"ping":{}}`, `{"id":%d,"unsubscribe":{"channel":"a"}}`,
	`{"id":%d,"subscribe":{"channel":"b"}}`, `{"id":%d,"publish":{"channel":"a","data":{"x":[1,"\u20ac"]}}}`,
	`{"id":%d,"subscribe":{"channel":""}}`, `{"id":%d,"subscribe":{"channel":"longer than twenty bytes"}}`,
	`{"id":%d,"subscribe":{"channel":"a\u0000"}}`, `{"id":%d,"subscribe":{"channel":"\ud83d\ude00"}}`, `{"id":%d,"subscribe":{"channel":"\ud83d"}}`,
	`{"id":%d,"unsubscribe":{"channel":"never"}}`, `{"id":%d,"unsubscribe":{}}`, `{"id":%d,"publish":{"channel":"a"}}`,
	`{"id":%d,"publish":{"channel":"a","data":null}}`, `{"id":%d,"presence":{"channel":"a"}}`, `{"id":%d,"presence_stats":{"channel":"a"}}`,
	`{"id":%d,"rpc":{"method":"m","data":{}}}`, `{"id":%d,"refresh":{}}`, `{"id":%d,"sub_refresh":{}}`, `{"id":%d,"send":{"data":{}}}`,
	`{"id":%d,"frob":{}}`, `{"id":%d}`, `{"id":%d,"connect":{}}`, `{"id":%d,"ping":{},"subscribe":{"channel":"c"}}`, `{"id":%d,"ping":{}}}`,
	`{"id":%d,"ping":{}`, `[%d]`, `{"id":-%d,"ping":{}}`, `{"id":"%d","ping":{}}`, `{"id":%d.5,"ping":{}}`, `{"id":%de3,"ping":{}}`, ` {"id":%d, "ping" : { } } `,
	`{"ID":%d,"PING":{}}`, `{"id":%d,"id":7,"ping":{}}`, `{"id":%d,"subscribe":null}`, `{"send":{"data":%d}}`, `{"subscribe":{"channel":"%d"}}`, `{}`, ``, `null`,
}

// messages are what a program has to say, mostly after a connect command.
func (c *choices) messages(encoding wire.Protocol) (messages [][]byte) {
	connects := []string{`{"id":1,"connect":{}}`, `{"id":1,"connect":{"subs":{"a":{},"b":{}}}}`, `{"id":1,"connect":{"subs":{"":{}}}}`, `{"id":1,"connect":{"subs":{"a":{},"b":{},"c":{},"d":{}}}}`}
	if k := c.next(); k < 240 {
		messages = append(messages, encodeCommand(encoding, c.pick(connects)))
	}
	for id := 2; len(*c) > 0 && id < 30; {
		var message []byte
		for range 1 + c.next()/200 {
			k := int(c.next())
			if k < 160 {
				k %= 5
			}
			command := fuzzCommands[k%len(fuzzCommands)]
			if strings.Contains(command, "%d") {
				command = fmt.Sprintf(command, id)
			}
			if id++; len(message) > 0 && encoding == wire.JSON {
				message = append(message, '\n')
			}
			message = append(message, encodeCommand(encoding, command)...)
		}
		if c.next() == 1 && len(message) > 0 {
			message[int(c.next())%len(message)] = c.next()
		}
		messages = append(messages, message)
	}
	return messages
}

// encodeCommand is a command given as JSON in the encoding; what is no command
// stays as it is.
func encodeCommand(encoding wire.Protocol, command string) []byte {
	decoded := &protocol.Command{}
	if encoding == wire.JSON || json.Unmarshal([]byte(command), decoded) != nil {
		return []byte(command)
	}
	body, err := proto.Marshal(decoded)
	if err != nil {
		return []byte(command)
	}
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}

// converse sends messages, each when the one before is answered, in fragments that
// the seed decides, and then the end of the stream.
func converse(c *kit.Client, messages [][]byte, seed uint64) outcome {
	c.T.Helper()
	var o outcome
	for i, message := range messages {
		op := ws.OpText
		if c.Protocol == wire.Protobuf {
			op = ws.OpBinary
		}
		frames := []kit.Frame{{Op: op, Body: message}}
		if len(message) > 0 {
			frames = fragments(op, message, 1+int(seed>>i)%len(message))
		}
		// The session may have ended, which the next read shows.
		if err := c.TryWrite(kit.Encode(frames...)); err != nil && !kit.Ended(err) {
			c.T.Errorf("after %v: write: %v", o, err)
			return o
		}
		// Every command with an id has one reply, unless the session ends.
		due := 0
		var command protocol.Command
		rest, err := wire.Next(c.Protocol, bytes.Clone(message), &command)
		for ; err == nil; rest, err = wire.Next(c.Protocol, rest, &command) {
			if command.Id != 0 {
				due++
			}
			if len(rest) == 0 {
				break
			}
		}
		malformed := err != nil
		if op == ws.OpText && !bytes.Equal(bytes.ToValidUTF8(message, nil), message) {
			malformed = true
		}
		switch {
		case malformed:
			due = toTheEnd
		case due == 0:
			// The pong shows that the server is done with what has no answer.
			if err := c.TryWrite(kit.Encode(kit.Frame{Op: ws.OpPing})); err != nil && !kit.Ended(err) {
				c.T.Errorf("after %v: write: %v", o, err)
				return o
			}
			due = 1
		}
		replies, end := readReplies(c, due)
		if end != "" {
			// What is answered beside the end of the session is left to chance,
			// if it has to wait for Redis.
			o.end = end
			return o
		}
		slices.Sort(replies)
		o.frames = append(o.frames, replies...)
	}
	if err := c.Conn.CloseWrite(); err != nil && !kit.Ended(err) {
		c.T.Errorf("close: %v", err)
	}
	_, o.end = readReplies(c, toTheEnd)
	return o
}

// toTheEnd is more replies than come.
const toTheEnd = 1 << 30

// readReplies reads due replies or pongs, or all to the end of the connection. Pushes are
// left out: they are in no order with replies.
func readReplies(c *kit.Client, due int) (replies []string, end string) {
	c.T.Helper()
	for len(replies) < due {
		f, err := c.TryFrame()
		switch {
		case kit.Ended(err):
			return replies, "end without close"
		case err != nil:
			c.T.Errorf("after %q: %v", replies, err)
			return replies, "no reply"
		case f.Op == ws.OpClose:
			return replies, fmt.Sprintf("close %d %q", kit.CloseCode(f), f.Body)
		case f.Op == ws.OpPong:
			replies = append(replies, "pong")
			continue
		}
		decoded, err := kit.Decode(c.Protocol, f)
		if err != nil {
			c.T.Errorf("after %q: %s: %v", replies, kit.Brief(f.Body), err)
			return replies, "no reply"
		}
		for _, r := range decoded {
			if r == nil || r.Id == 0 {
				continue
			}
			if r.Connect != nil {
				r.Connect.Client = ""
			}
			replies = append(replies, kit.Show(r))
		}
	}
	return replies, ""
}

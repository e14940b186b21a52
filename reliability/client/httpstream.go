package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// lines reads an HTTP stream until it ends.
func (s *connection) lines() error {
	var event, data []byte
	for {
		line, err := s.conn.in.ReadBytes('\n')
		if err != nil {
			return err // an unfinished line is not a message
		}
		line = line[:len(line)-1]
		if s.client.kind.Protocol == Stream {
			if len(line) > 0 { // an empty line keeps the stream alive
				s.payload(line, time.Now())
			}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			data = value
		case "event":
			event = value
		case "retry":
			// Clients have delays of their own: Options.MinDelay.
		case "":
			if len(line) > 0 || data == nil {
				continue // a comment, or the end of a comment
			}
			if err := s.event(string(event), data); err != nil {
				return err
			}
			event, data = nil, nil
		default:
			s.broken(fmt.Sprintf("line that is not a field of an event: %.100s", line))
		}
	}
}

// event handles a server-sent event. An error ends the connection.
func (s *connection) event(name string, data []byte) error {
	switch name {
	case "":
		s.payload(data, time.Now())
	case "gap":
		s.client.pool.counts.gaps.Add(1)
		if !s.client.warned(string(data)) {
			s.broken("gap in a channel that it is not subscribed to: " + string(data))
		}
	case "disconnect":
		var end struct{ Code int }
		if json.Unmarshal(data, &end) != nil {
			s.broken(fmt.Sprintf("event disconnect without a code: %.100s", data))
		}
		return s.closed(closed(end.Code))
	default:
		s.broken("event " + name)
	}
	return nil
}

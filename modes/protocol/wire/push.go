package wire

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/centrifugal/protocol"
	"github.com/centrifugal/protocol/cfjson"
	"github.com/gobwas/ws"
)

// PushFrame returns the frame that brings a publication to connections of
// protocol p. data stays the caller's. repaired says that data was no UTF-8
// and its broken bytes were replaced.
//
// Data that is valid JSON is embedded as it is, but for line breaks between its
// tokens, which separate messages in this protocol; anything else becomes a
// JSON string. Raw sends data untouched, in a binary frame where it is no UTF-8.
// The protocols over HTTP have no frames: see ssePush and streamPush.
func PushFrame(p Protocol, channel string, data []byte) (frame Frame, repaired bool) {
	switch p {
	case JSON:
		return jsonPush(channel, data)
	case Protobuf:
		return ReplyFrame(Protobuf, &protocol.Reply{Push: &protocol.Push{
			Channel: channel, Pub: &protocol.Publication{Data: data}}}), false
	case SSE:
		return ssePush(data)
	case Stream:
		return streamPush(data)
	}
	if utf8.Valid(data) {
		return NewFrame(ws.OpText, data), false
	}
	return NewFrame(ws.OpBinary, data), false
}

func jsonPush(channel string, data []byte) (Frame, bool) {
	repaired := !utf8.Valid(data)
	if repaired {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	const open, middle, end = `{"push":{"channel":`, `,"pub":{"data":`, `}}}`
	dst := make([]byte, 0, MaxHeader+len(open)+len(channel)+2+len(middle)+len(data)+len(end))
	dst = append(reserve(dst), open...)
	dst = cfjson.AppendString(dst, channel)
	dst = append(dst, middle...)
	dst = appendData(dst, data)
	return seal(append(dst, end...), 0, ws.OpText), repaired
}

// appendData appends data as JSON on one line.
func appendData(dst, data []byte) []byte {
	if !validJSON(data) {
		return cfjson.AppendString(dst, string(data))
	}
	if bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 {
		return append(dst, data...)
	}
	line := bytes.NewBuffer(dst)
	// Compact fails on invalid JSON only.
	_ = json.Compact(line, data)
	return line.Bytes()
}

// UnsubscribeFrame returns the frame by which the server ends the subscription
// to channel, in a protocol with a session.
func UnsubscribeFrame(p Protocol, channel string, u Unsubscribe) Frame {
	return ReplyFrame(p, &protocol.Reply{Push: &protocol.Push{
		Channel: channel, Unsubscribe: &protocol.Unsubscribe{Code: u.Code, Reason: u.Reason}}})
}

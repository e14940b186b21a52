package handshake

import (
	"errors"
	"net/url"
	"strings"

	"github.com/tandem-ws/tandem/modes"
	"github.com/tandem-ws/tandem/modes/admission"
	"github.com/tandem-ws/tandem/modes/protocol/session"
	"github.com/tandem-ws/tandem/modes/protocol/wire"
)

// Endpoint returns the protocol spoken at a path; ok is false if the path is no
// endpoint. echo opens /echo.
func Endpoint(path string, echo bool) (p wire.Protocol, ok bool) {
	switch path {
	case modes.PathCentrifuge:
		return wire.JSON, true
	case modes.PathRaw:
		return wire.Raw, true
	case modes.PathEcho:
		return wire.Echo, echo
	case modes.PathSSE:
		return wire.SSE, true
	case modes.PathStream:
		return wire.Stream, true
	}
	return 0, false
}

// Encoding returns wire.Protobuf if p is the Centrifuge protocol and the request's
// query asks for that encoding, as clients do that cannot offer a subprotocol;
// otherwise p.
func Encoding(p wire.Protocol, rawQuery string) wire.Protocol {
	if p != wire.JSON || rawQuery == "" {
		return p
	}
	// As in any HTTP server, what can be read of a broken query counts.
	query, _ := url.ParseQuery(rawQuery)
	if query.Get("cf_protocol") == "protobuf" || query.Get("format") == "protobuf" {
		return wire.Protobuf
	}
	return p
}

// Channels reads the channels of a connection that names them in the request's
// query, each once, in order.
func Channels(rules *session.Rules, rawQuery string) ([]string, *admission.Refusal) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil || len(query["channel"]) == 0 {
		return nil, RefusedChannel
	}
	var channels []string
	seen := make(map[string]bool, len(query["channel"]))
	for _, channel := range query["channel"] {
		switch err := rules.CheckChannel(channel); {
		case errors.Is(err, session.ErrChannelReserved):
			return nil, RefusedReserved
		case err != nil:
			return nil, RefusedChannel
		}
		if !seen[channel] {
			seen[channel] = true
			// It outlives the query, of which it may be a part.
			channels = append(channels, strings.Clone(channel))
		}
	}
	if len(channels) > rules.MaxChannels {
		return nil, RefusedChannels
	}
	return channels, nil
}

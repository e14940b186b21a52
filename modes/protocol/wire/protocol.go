package wire

// Protocol says what a connection's messages mean.
type Protocol uint8

const (
	// JSON is the Centrifuge protocol, JSON encoding: text frames.
	JSON Protocol = iota
	// Protobuf is the Centrifuge protocol, protobuf encoding: binary frames.
	Protobuf
	// Raw sends each publication's payload, and nothing else.
	Raw
	// SSE is a stream of server-sent events over plain HTTP, one for each
	// publication.
	SSE
	// Stream is a stream of JSON values over plain HTTP, a line for each
	// publication.
	Stream

	// Pushed is how many there are that publications are pushed to, for tables
	// indexed by those.
	Pushed

	// Echo sends back what it receives.
	Echo = Pushed
	// Protocols is how many there are, for tables indexed by Protocol.
	Protocols = Echo + 1
)

// JSONSubprotocol is the WebSocket subprotocol by which a client asks for JSON, which
// it is also sent without one.
const JSONSubprotocol = "centrifuge-json"

// ProtobufSubprotocol is the WebSocket subprotocol by which a client asks for
// the protobuf encoding.
const ProtobufSubprotocol = "centrifuge-protobuf"

// Session tells whether connections of this protocol run a Centrifuge session.
func (p Protocol) Session() bool { return p <= Protobuf }

// OverHTTP tells whether connections of this protocol are the response to a plain
// HTTP request, whose body has no frames: its messages end by themselves.
func (p Protocol) OverHTTP() bool { return p == SSE || p == Stream }

// ByQuery tells whether connections of this protocol name their channels in the
// request's query.
func (p Protocol) ByQuery() bool { return p == Raw || p.OverHTTP() }

// TellsGaps tells whether connections of this protocol can be told that messages
// may have been missed.
func (p Protocol) TellsGaps() bool { return p.Session() || p == SSE }

// String returns the name used in metrics and logs.
func (p Protocol) String() string {
	return [...]string{"json", "protobuf", "raw", "sse", "stream", "echo", "unknown"}[min(p, Protocols)]
}

// Form is how publications go out to a connection: in which protocol, and
// whether permessage-deflate may compress them, which over HTTP it may not.
// Connections of one form share frames.
type Form uint8

// Forms is how many there are, for tables indexed by Form.
const Forms = Form(Pushed + Raw + 1)

// Form returns the form of a connection of protocol p, which must be one that
// publications are pushed to.
func (p Protocol) Form(deflate bool) Form {
	if deflate && !p.OverHTTP() {
		return Form(p + Pushed)
	}
	return Form(p)
}

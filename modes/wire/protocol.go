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
	// Echo sends back what it receives.
	Echo

	// Protocols is how many there are, for tables indexed by Protocol.
	Protocols
)

// ProtobufSubprotocol is the WebSocket subprotocol by which a client asks for
// the protobuf encoding.
const ProtobufSubprotocol = "centrifuge-protobuf"

// Session tells whether connections of this protocol run a Centrifuge session.
func (p Protocol) Session() bool { return p <= Protobuf }

// String returns the name used in metrics and logs.
func (p Protocol) String() string {
	return [...]string{"json", "protobuf", "raw", "echo", "unknown"}[min(p, Protocols)]
}

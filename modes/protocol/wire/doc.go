// Package wire is the client protocol on the wire: it decodes commands, and
// encodes replies and pushes into complete WebSocket frames. The messages are
// those of the Centrifuge protocol (github.com/centrifugal/protocol); the frames
// are those of RFC 6455. It keeps no state and does no I/O; everything in it may
// be called concurrently.
package wire

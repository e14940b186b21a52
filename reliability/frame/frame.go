// Package frame is a minimal WebSocket client (RFC 6455) for programs that control
// every byte themselves: the handshake, and reading and writing frames.
package frame

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// Opcodes of RFC 6455 section 5.2.
const (
	Text   = 1
	Binary = 2
	Close  = 8
	Ping   = 9
	Pong   = 10
)

const maxFrame = 16 << 20

// ErrFrame means that the server sent a frame that it must not send.
var ErrFrame = errors.New("frame: bad frame")

const (
	fin  = 0x80
	rsv1 = 0x40
)

// Read reads one frame. Its body is in buf if it fits. The error is ErrFrame or that
// of reading.
func Read(in *bufio.Reader, buf []byte) (op byte, body []byte, err error) {
	first, body, err := read(in, buf)
	// no extension
	if err == nil && first&rsv1 != 0 {
		err = ErrFrame
	}
	return first & 0x0f, body, err
}

// read is Read for callers that check RSV1 themselves; it is in first.
func read(in *bufio.Reader, buf []byte) (first byte, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return 0, buf, err
	}
	// unfragmented and unmasked
	if head[0]&^rsv1&0xf0 != fin || head[1]&0x80 != 0 {
		return 0, buf, ErrFrame
	}
	first = head[0]
	size := uint64(head[1])
	switch size {
	case 126:
		_, err = io.ReadFull(in, head[:2])
		size = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		_, err = io.ReadFull(in, head[:8])
		size = binary.BigEndian.Uint64(head[:8])
	}
	if err != nil {
		return 0, buf, err
	}
	if size > maxFrame {
		return 0, buf, ErrFrame
	}
	if uint64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	body = buf[:size]
	_, err = io.ReadFull(in, body)
	return first, body, err
}

// Append appends a client's frame to dst. The mask is all zeros, which RFC 6455 allows
// if the content need not be hidden from proxies.
func Append(dst []byte, op byte, body []byte) []byte {
	dst = append(dst, fin|op)
	switch n := len(body); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, body...)
}

// Paths of the server's endpoints.
const (
	Centrifuge = "/connection/websocket"
	Raw        = "/ws"
	SSE        = "/sse"
	Stream     = "/stream"
	Echo       = "/echo"
)

// Refused is the status of a response to a handshake other than 101.
type Refused int

// Error returns the status.
func (r Refused) Error() string { return "status " + strconv.Itoa(int(r)) }

// Request returns a handshake for path with more headers than it needs.
func Request(host, path string, headers ...string) string {
	return Get(host, path, append([]string{
		"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, headers...)...)
}

// Get returns a plain HTTP request for path.
func Get(host, path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(append(headers, "", ""), "\r\n")
}

// accept is the answer to the key of Request (RFC 6455 section 1.3).
const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// Upgrade performs the handshake on conn, whose deadlines the caller sets, and returns
// a reader of frames with a buffer of size bytes, and the headers of the response. The
// error may be Refused.
func Upgrade(conn net.Conn, host, path string, size int, headers ...string) (*bufio.Reader, http.Header, error) {
	in, header, err := Open(conn, Request(host, path, headers...), size, http.StatusSwitchingProtocols)
	if err == nil && header.Get("Sec-WebSocket-Accept") != accept {
		err = errors.New("frame: handshake: wrong Sec-WebSocket-Accept")
	}
	return in, header, err
}

// Open sends a request on conn and reads the headers of the response. The error is
// Refused if its status is not want. The returned reader has what follows.
func Open(conn net.Conn, request string, size, want int) (*bufio.Reader, http.Header, error) {
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, nil, fmt.Errorf("frame: request: %w", err)
	}
	in := bufio.NewReaderSize(conn, size)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("frame: response: %w", err)
	}
	if response.StatusCode != want {
		return nil, nil, Refused(response.StatusCode)
	}
	return in, response.Header, nil
}

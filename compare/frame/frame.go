// Package frame is the least of a WebSocket client (RFC 6455) that the programs
// need which look after every byte themselves: the handshake, frames to be read and
// to be written.
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

// ErrFrame says that the server sent what is no frame that it may send.
var ErrFrame = errors.New("frame: bad frame")

// Read reads one frame. Its body is in buf where it fits. The error is ErrFrame or
// that of reading.
func Read(in *bufio.Reader, buf []byte) (op byte, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return 0, buf, err
	}
	// whole, not masked, no extension
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, buf, ErrFrame
	}
	op = head[0] & 0x0f
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
	return op, body, err
}

// Append appends a client's frame to dst. The mask is all zeros, which RFC 6455
// allows to whoever need not hide what it sends from proxies.
func Append(dst []byte, op byte, body []byte) []byte {
	dst = append(dst, 0x80|op)
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
	Echo       = "/echo"
)

// Refused is a status in answer to a handshake that is not 101.
type Refused int

// Error names the status.
func (r Refused) Error() string { return "status " + strconv.Itoa(int(r)) }

// Request is a handshake for path.
func Request(host, path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// accept is the answer to Request's key (RFC 6455 section 1.3).
const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// Upgrade makes the handshake on conn, whose deadlines are the caller's, and
// returns what to read frames from, with a buffer of size bytes. The error may be
// Refused.
func Upgrade(conn net.Conn, host, path string, size int) (*bufio.Reader, error) {
	if _, err := io.WriteString(conn, Request(host, path)); err != nil {
		return nil, fmt.Errorf("frame: handshake: %w", err)
	}
	in := bufio.NewReaderSize(conn, size)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, fmt.Errorf("frame: handshake: %w", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, Refused(response.StatusCode)
	}
	if response.Header.Get("Sec-WebSocket-Accept") != accept {
		return nil, errors.New("frame: handshake: wrong Sec-WebSocket-Accept")
	}
	return in, nil
}

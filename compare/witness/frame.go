package witness

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// Opcodes of RFC 6455 section 5.2.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

const maxFrame = 16 << 20

// errFrame says that the server sent what is no frame that it may send.
var errFrame = errors.New("bad frame")

// readFrame reads one frame. Its body is in buf where it fits.
func readFrame(in *bufio.Reader, buf []byte) (op byte, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return 0, buf, err
	}
	// whole, not masked, no extension
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, buf, errFrame
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
		return 0, buf, errFrame
	}
	if uint64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	body = buf[:size]
	_, err = io.ReadFull(in, body)
	return op, body, err
}

// appendFrame appends a client's frame. The mask is all zeros, which RFC 6455
// allows to whoever need not hide what it sends from proxies.
func appendFrame(dst []byte, op byte, body []byte) []byte {
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

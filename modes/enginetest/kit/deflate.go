package kit

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"

	"github.com/gobwas/ws"
)

// Rsv1 marks the first frame of a compressed message (RFC 7692 section 6).
const Rsv1 = 0x40

// Deflate returns what a client that keeps no context makes of data. The
// implementation is not that of the server.
func Deflate(level int, data []byte) []byte {
	var out bytes.Buffer
	// The errors are those of a level that does not exist, and of a buffer that
	// does not take what it is given.
	w, _ := flate.NewWriter(&out, level)
	_, _ = w.Write(data)
	_ = w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte("\x00\x00\xff\xff"))
}

// Compressed is the frame that carries data compressed.
func Compressed(op ws.OpCode, data []byte) Frame {
	return Frame{Op: op, Rsv: Rsv1, Body: Deflate(flate.DefaultCompression, data)}
}

// inflate makes a compressed message a plain one, on its own: the server may not
// refer to what it has sent before. The bit stays.
func (f *Frame) inflate() error {
	tail := strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")
	body, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(f.Body), tail)))
	if err != nil {
		return fmt.Errorf("inflate %x: %w", f.Body, err)
	}
	f.Body = body
	return nil
}

// OpenDeflate opens a connection that has negotiated permessage-deflate.
func (n *Node) OpenDeflate(t Tester, target string, headers ...string) *Client {
	t.Helper()
	c := n.Dial(t)
	c.Deflate = true
	c.Handshake(target, headers...)
	return c
}
